"""Who is asked, and that nobody can be singled out."""

import numpy as np
import pytest

from demand.errors import SettingsError
from demand.uses.audience import chance_of_any, choose, fixed_size

CHANCES = np.array([0.1, 0.5, 0.2, 0.5, 0.7])


def test_the_chance_of_any_item_is_that_of_not_none() -> None:
    assert chance_of_any(np.array([[0.5, 0.5], [0.0, 0.25], [1.0, 0.0]])) == pytest.approx([0.75, 0.25, 1.0])


def test_the_likeliest_are_chosen_and_what_they_bring_is_said() -> None:
    found = choose(CHANCES, size=3, smallest=2)

    assert found.rows.tolist() == [4, 1, 3]
    assert found.response == pytest.approx(1.7)
    assert found.reached == pytest.approx(1.7 / 2.0)


def test_a_threshold_or_a_budget_says_how_many() -> None:
    assert choose(CHANCES, threshold=0.5, smallest=1).rows.tolist() == [4, 1, 3]
    assert choose(CHANCES, budget=9.9, cost=2.0, smallest=1).rows.tolist() == [4, 1, 3, 2]
    assert len(choose(CHANCES, size=50, smallest=1).rows) == 5


def test_what_needs_no_chances_is_refused_before_anybody_is_asked() -> None:
    assert fixed_size(size=12) == 12
    assert fixed_size(budget=25.0, cost=2.0) == 12
    assert fixed_size(budget=100.0, cost=0.1) == 1_000
    assert fixed_size(budget=1.0, cost=0.1) == 10
    assert fixed_size(threshold=0.5) is None
    with pytest.raises(SettingsError, match="would be 5, and 10 are the fewest"):
        fixed_size(budget=11.0, cost=2.0)


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        ({}, "wants one of"),
        ({"size": 3, "threshold": 0.5}, "wants one of"),
        ({"budget": 5.0}, "cost"),
        ({"budget": 100.0, "cost": 0.0}, "must cost something, not 0"),
        ({"budget": 100.0, "cost": -1.0}, "must cost something, not -1"),
        ({"budget": 1e308, "cost": 0.1}, "more customers than can be counted"),
        ({"size": 3, "cost": 1.0}, "cost"),
        ({"size": 3}, "would be 3, and 10 are the fewest"),
        ({"threshold": 0.99}, "would be 0"),
    ],
)
def test_what_is_unclear_or_too_small_is_refused(ways: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        choose(CHANCES, **ways)
