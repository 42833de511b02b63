"""Work ahead: in order, in other processes, no further ahead than promised, and errors arrive where they belong."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import current_thread

import psutil
import pytest

from modeling.ahead import BEFOREHAND, ahead, one_ahead
from tests.clusters import wait_until

ROOT = Path(__file__).parents[2]


def numbers(taken: list[int]) -> Iterator[int]:
    for number in range(1_000):
        taken.append(number)
        yield number


@pytest.mark.parametrize("processes", [0, 2])
def test_everything_is_made_in_order(processes: int) -> None:
    assert list(ahead(math.factorial, range(50), processes)) == [math.factorial(number) for number in range(50)]


def test_a_thread_takes_one_ahead() -> None:
    taken: list[int] = []
    made = one_ahead(((number, current_thread()) for number in numbers(taken)), partial(taken.append, -1))
    (first, one), (second, other) = next(made), next(made)
    made.close()
    assert (first, second, taken) == (0, 1, [-1, 0, 1, 2])
    assert one is other is not current_thread()


def test_an_error_in_the_thread_arrives_where_the_item_would() -> None:
    made = one_ahead(map(math.sqrt, [1, 4, -1, 9]), bool)
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(ValueError, match=r"(math domain error|nonnegative)"):
        next(made)


def test_other_processes_work() -> None:
    assert os.getpid() not in set(ahead(_process, range(4), 2))


def test_items_are_taken_only_a_few_ahead() -> None:
    taken: list[int] = []
    assert list(islice(ahead(math.factorial, numbers(taken), 2), 5)) == [1, 1, 2, 6, 24]
    assert len(taken) == 5 + 2 + BEFOREHAND


@pytest.mark.parametrize("processes", [0, 2])
def test_an_error_arrives_where_the_item_would(processes: int) -> None:
    made = ahead(math.sqrt, [1, 4, -1, 9], processes)
    assert list(islice(made, 2)) == [1, 2]
    with pytest.raises(ValueError, match=r"(math domain error|nonnegative)"):
        next(made)


def test_they_end_with_a_process_that_was_killed() -> None:
    script = (
        "import os, time; from modeling.ahead import ahead; from tests.modeling.test_ahead import _process\n"
        "if __name__ == '__main__':\n"
        "    made = ahead(_process, iter(int, 1), 2)\n"
        "    print(*{next(made) for _ in range(50)}, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout
        workers = [int(each) for each in parent.stdout.readline().split()]
        parent.kill()
    assert workers
    assert parent.pid not in workers
    assert wait_until(lambda: not any(map(psutil.pid_exists, workers)), 20)


def _process(_: int) -> int:
    return os.getpid()
