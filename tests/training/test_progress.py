"""Progress: what it says of speed and of the time that is left."""

import pytest

from training.progress import Pace


def test_a_first_step_that_compiles_tells_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 60.0, 62.0, 62.0, 62.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    pace = Pace(done=4, steps=10)
    pace.advance(1_000)
    pace.advance(1_000)
    assert (pace.tokens_per_second, pace.seconds_left) == (500, 4 * 2)


def test_one_step_is_better_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0, 5.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    pace = Pace(done=0, steps=3)
    pace.advance(1_000)
    assert (pace.tokens_per_second, pace.seconds_left) == (200, 10)
