"""Work done ahead by other processes, so that a device never waits for what a processor prepares."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")
MOST_PROCESSES = 16
BEFOREHAND = 2
"""Items that wait, ready, beside those in work."""


def ahead(make: Callable[[Item], Made], items: Iterable[Item], processes: int) -> Iterator[Made]:
    """What `make` makes of each item, in order, while later ones are made already; in this process without others.

    Args:
        make: a function of a module, which the processes import; `items` and what it makes travel pickled.
    """
    if processes <= 0:
        yield from map(make, items)
        return
    coming: deque[Future[Made]] = deque()
    with ProcessPoolExecutor(processes, get_context("forkserver"), _end_with_parent) as pool:
        try:
            for item in items:
                coming.append(pool.submit(make, item))
                if len(coming) > processes + BEFOREHAND:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Ends this process when the one that it works for is gone, which a killed one cannot ask for."""
    Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
