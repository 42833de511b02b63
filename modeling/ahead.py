"""Work done ahead by other processes, so that a device never waits for what a processor prepares."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
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
    with ProcessPoolExecutor(processes, get_context("forkserver")) as pool:
        try:
            for item in items:
                coming.append(pool.submit(make, item))
                if len(coming) > processes + BEFOREHAND:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
