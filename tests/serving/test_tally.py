"""Counts by model."""

import pytest

from serving.problems import Answer
from serving.tally import Tallies


def test_answers_and_what_came_of_them_are_counted_for_the_model_that_gave_them() -> None:
    tallies = Tallies()
    tallies.answered(Answer(200, b"{}", model="demand@1"), 0.25)
    tallies.answered(Answer(500, b"{}", model="demand@1"), 0.5)
    tallies.answered(Answer(422, b"{}"), 0.1)  # no model saw it

    assert tallies.came("demand@1", shown=["a", "b", "a"], bought=["b", "b", "c"]) == 1
    assert tallies.counts("demand@1") == {"answers": 2, "failures": 1, "seconds": 0.75, "shown": 2, "bought": 1}
    assert tallies.counts("demand@2")["answers"] == 0
    with pytest.raises(KeyError):
        tallies.came("demand@2", shown=["a"], bought=[])
    tallies.serve(["demand@1", "demand@2"])
    assert tallies.came("demand@2", shown=["a"], bought=["a"]) == 1
    assert tallies.counts("demand@1")["answers"] == 2
