"""Work done ahead by other processes and threads, so that a device never waits for what a processor prepares."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from typing import TypeVar

import torch
from torch.multiprocessing import get_context, set_sharing_strategy

Item = TypeVar("Item")
Made = TypeVar("Made")
MOST_PROCESSES = 16
"""For one worker. By a batch's processor time two keep up with a 1B model on an H200, and four with one of 135M."""
SHARED_MEMORY, ROOM = Path("/dev/shm"), 2**30  # noqa: S108 (where Linux has it; containers may have 64 MiB)
BEFOREHAND = 2
"""Items that wait, ready, beside those in work."""


def ahead(make: Callable[[Item], Made], items: Iterable[Item], processes: int) -> Iterator[Made]:
    """What `make` makes of each item, in order, while later ones are made already; in this process without others.

    Args:
        make: a function of a module, which the processes import. Items and what is made of them travel pickled, but
            for tensors, which are made in shared memory and stay there: to unpickle them would take this process,
            which launches a GPU's kernels, as long as that. Where there is not `ROOM` of it, this process works alone.
    """
    if processes <= 0 or shutil.disk_usage(SHARED_MEMORY).free < ROOM:
        yield from map(make, items)
        return
    coming: deque[Future[Made]] = deque()
    with ProcessPoolExecutor(processes, get_context("forkserver"), _begin) as pool:
        try:
            for item in items:
                coming.append(pool.submit(make, item))
                if len(coming) > processes + BEFOREHAND:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def one_ahead(items: Iterable[Item], begin: Callable[[], None]) -> Iterator[Item]:
    """The items, while a thread takes the next already, which begins with `begin`."""
    rest = iter(items)
    with ThreadPoolExecutor(1, initializer=begin) as thread:
        coming = thread.submit(next, rest, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, rest, None)
            yield item


def _begin() -> None:
    """Readies a process, and ends it when the one that it works for is gone, which a killed one cannot ask for."""
    set_sharing_strategy("file_system")  # by name: an open file for every tensor would have to be asked for one by one
    torch.set_num_threads(1)  # there is a process for each processor already
    Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
