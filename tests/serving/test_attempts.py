"""Second attempts: when there is one, and whose answer counts."""

import asyncio
from collections.abc import Iterator

import pytest

from serving.attempts import Attempts


class Died(Exception):
    """An attempt that ended without an answer."""


class Replicas:
    """Each attempt takes so long, and then gives or raises."""

    def __init__(self, *attempts: tuple[float, object]) -> None:
        self._attempts: Iterator[tuple[float, object]] = iter(attempts)
        self.asked = 0

    async def ask(self) -> object:
        self.asked += 1
        seconds, answer = next(self._attempts)
        await asyncio.sleep(seconds)
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(*attempts: tuple[float, object]) -> tuple[object, int]:
    """What comes of attempts with a patience of .05 s, and how many there were."""
    replicas = Replicas(*attempts)
    return asyncio.run(Attempts(2, Died).answer(replicas.ask, 0.05)), replicas.asked


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([(0, "first"), (0, "second")], ("first", 1)),
        ([(0, Died()), (0, "second")], ("second", 2)),
        ([(60, "hangs"), (0, "second")], ("second", 2)),
        ([(0.1, "first after all"), (60, "hangs")], ("first after all", 2)),
        ([(0.1, Died()), (0.2, "second")], ("second", 2)),
        ([(0.2, "first after all"), (0.01, Died())], ("first after all", 2)),
        ([(0.2, "first after all"), (0, ValueError("refused"))], ("first after all", 2)),
    ],
)
def test_the_first_answer_counts_whoever_gives_it(
    attempts: list[tuple[float, object]], expected: tuple[object, int]
) -> None:
    assert answer(*attempts) == expected


@pytest.mark.parametrize("attempts", [[(0, Died()), (0, Died())], [(0.1, Died()), (0.1, Died())]])
def test_two_that_die_are_enough(attempts: list[tuple[float, object]]) -> None:
    with pytest.raises(Died):
        answer(*attempts)


def test_an_answer_that_is_an_error_is_not_asked_for_again() -> None:
    with pytest.raises(ValueError, match="refused"):
        answer((0, ValueError("refused")), (0, "second"))


def test_where_everybody_waits_an_attempt_that_dies_is_made_again_all_the_same() -> None:
    replicas = Replicas(*[(0.2, Died())] * 4, *[(0, "answer")] * 4)
    attempts = Attempts(0, Died)

    async def all_at_once() -> list[object]:
        return await asyncio.gather(*(attempts.answer(replicas.ask, 0.05) for _ in range(4)))

    assert asyncio.run(all_at_once()) == ["answer"] * 4


def test_where_everybody_waits_only_some_ask_again() -> None:
    replicas = Replicas(*[(0.2, "slow")] * 20)
    attempts = Attempts(2, Died)

    async def all_at_once() -> list[object]:
        return await asyncio.gather(*(attempts.answer(replicas.ask, 0.05) for _ in range(10)))

    assert asyncio.run(all_at_once()) == ["slow"] * 10
    assert replicas.asked == 12
