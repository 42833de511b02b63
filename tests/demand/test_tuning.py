"""Tuning of baselines: what may be seen, what wins, what is remembered."""

from pathlib import Path

import numpy as np
import pytest

from demand.baselines.baseline import Baseline
from demand.baselines.problem import Problem
from demand.baselines.tuning import Choices, tune
from demand.customer import Customer, Order
from demand.moments import DAY
from demand.questions import ask
from tests.demand.shops import CATALOGUE

CUTOFF, DAYS = 100 * DAY, 10


def shopper(name: str, *days_and_items: tuple[int, str]) -> Customer:
    orders = [Order(day * DAY, tuple(items), (1.0,) * len(items), (1.0,) * len(items)) for day, items in days_and_items]
    return Customer(name, tuple(orders))


def problem() -> Problem:
    """One customer buys a three times, b in the validation period and c after the cutoff."""
    one = shopper("1", (1, "a"), (2, "a"), (3, "a"), (95, "b"), (101, "c"))
    return Problem(ask([one], CATALOGUE, CUTOFF, DAYS), CATALOGUE)


class Favourite:
    """A method whose setting names the item that it puts first; remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, shown: Problem, item: str) -> np.ndarray:
        orders = [order for each in shown.questions.everyone for order in each.orders]
        self.seen.append((shown.questions.cutoff, max(order.ts for order in orders)))
        scores = np.zeros((shown.asked, len(CATALOGUE)))
        scores[:, CATALOGUE.index[item]] = 1
        return scores

    def baseline(self, *items: str) -> Baseline:
        return Baseline("favourite", self, tuple({"item": item} for item in items))


def test_settings_are_chosen_on_the_period_before_the_cutoff_from_what_lies_before_it() -> None:
    method = Favourite()

    chosen = tune([method.baseline("a", "b", "c")], problem())

    assert chosen == {"favourite": {"item": "b"}}
    assert all(cutoff == CUTOFF - DAYS * DAY and newest < cutoff for cutoff, newest in method.seen)


def test_a_choice_is_remembered_while_the_grid_holds_it(tmp_path: Path) -> None:
    choices = Choices(tmp_path / "state" / "choices.json")
    tune([Favourite().baseline("a", "b")], problem(), choices)

    again, other = Favourite(), Favourite()
    assert tune([again.baseline("c", "b")], problem(), choices) == {"favourite": {"item": "b"}}
    assert tune([other.baseline("a", "c")], problem(), choices)["favourite"]["item"] in "ac"

    assert again.seen == []
    assert len(other.seen) == 2


def test_a_damaged_file_of_choices_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "choices.json"
    file.write_text('{"favourite": ')

    assert tune([Favourite().baseline("a", "b")], problem(), Choices(file)) == {"favourite": {"item": "b"}}


@pytest.mark.parametrize("items", ["ab", "ba"])
def test_without_customers_in_the_validation_period_the_first_settings_are_taken(items: str) -> None:
    late = shopper("1", (96, "a"), (97, "a"), (98, "b"), (101, "c"))
    method = Favourite()

    chosen = tune([method.baseline(*items)], Problem(ask([late], CATALOGUE, CUTOFF, DAYS), CATALOGUE))

    assert chosen == {"favourite": {"item": items[0]}}
