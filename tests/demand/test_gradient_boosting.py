"""Boosted trees: what they learn in a shop whose habits are known, what they must not see, what their chances mean."""

from dataclasses import replace

import numpy as np
import pytest

from demand.baselines import gradient_boosting
from demand.baselines.candidates import Shelf, bought, candidates, sales_of
from demand.baselines.gradient_boosting import horizon_chances, next_chances
from demand.baselines.problem import Problem
from demand.catalogue import Catalogue
from demand.customer import Customer, Order
from demand.moments import DAY, WEEK
from demand.prompts import NEXT_ORDER
from demand.questions import ask
from demand.record import Record
from tests.demand.shops import CATALOGUE

CUTOFF, WINDOW = 40 * WEEK, 28
SETTINGS = {"rounds": 30, "leaves": 7, "learning_rate": 0.2}
BREAD, EVEN, ODD, CHANCE, RARE = range(5)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data this small is only delayed by more."""
    monkeypatch.setitem(gradient_boosting.PARAMETERS, "num_threads", 1)


def order(ts: int, items: str) -> Order:
    return Order(ts, tuple(items), (1.0,) * len(items), (1.0,) * len(items))


def shopper(number: int, weeks: int = 44) -> Customer:
    """Weekly orders: bread (a) with 30 %, one item (b) in even and another (c) in odd weeks, d with 30 %, e hardly."""
    rng = np.random.default_rng(number)
    chances = {"a": 0.3, "d": 0.3, "e": 0.01}
    orders, day = [], int(rng.integers(0, 5))
    for week in range(int(rng.integers(0, 20)), weeks):
        items = ("b" if week % 2 == 0 else "c") + "".join(name for name, p in chances.items() if rng.random() < p)
        orders.append(order(week * WEEK + day * DAY, items))
    return Customer(f"c{number:03}", tuple(orders))


def problem(customers: list[Customer], catalogue: Catalogue = CATALOGUE, cutoff: int = CUTOFF) -> Problem:
    return Problem(ask(customers, catalogue, cutoff, WINDOW), catalogue)


@pytest.fixture(scope="module")
def shop() -> list[Customer]:
    return [shopper(number) for number in range(80)]


def test_what_is_due_is_ranked_above_what_was_just_bought_as_often(shop: list[Customer]) -> None:
    chances = next_chances(problem(shop), **SETTINGS)  # week 40 is even

    due, just_bought = chances[:, EVEN], chances[:, ODD]
    assert (due > chances[:, [BREAD, CHANCE, RARE]].max(1)).mean() > 0.95
    assert (just_bought < chances[:, [BREAD, CHANCE]].min(1)).mean() > 0.95


def test_nothing_from_the_cutoff_on_changes_an_answer(shop: list[Customer]) -> None:
    absurd = [
        replace(each, orders=tuple(one if one.ts < CUTOFF else order(one.ts, "f") for one in each.orders))
        for each in shop
    ]

    for answer in (next_chances, horizon_chances):
        assert np.array_equal(answer(problem(shop), **SETTINGS), answer(problem(absurd), **SETTINGS))


def test_equal_problems_have_equal_answers_and_rows_do_not_depend_on_who_else_is_asked(shop: list[Customer]) -> None:
    gone = replace(shop[0], orders=tuple(one for one in shop[0].orders if one.ts < CUTOFF))
    some = problem([gone, *shop[1:]])

    everyone = horizon_chances(some.of_everyone(), **SETTINGS)

    assert (some.asked, len(everyone)) == (79, 80)
    assert np.array_equal(everyone[:79], horizon_chances(problem([gone, *shop[1:]]), **SETTINGS))


def test_chances_are_about_as_likely_as_they_say(shop: list[Customer]) -> None:
    whole = problem(shop)

    for answer, truths in ((next_chances, whole.questions.next_order), (horizon_chances, whole.questions.horizon)):
        chances = answer(whole, **SETTINGS)
        happened = np.array([np.bincount(truth, minlength=len(CATALOGUE)) for truth in truths])
        assert chances.mean(0) == pytest.approx(happened.mean(0), abs=0.12)
        assert ((chances > 0) & (chances < 1)).all()


def test_thinned_negatives_leave_chances_as_they_are(shop: list[Customer], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = next_chances(problem(shop), **SETTINGS)
    monkeypatch.setattr(gradient_boosting, "ROWS", 22_000)  # of at most 80 x 8 x 105 candidates: a third

    thinned = next_chances(problem(shop), **SETTINGS)

    assert not np.array_equal(thinned, whole)
    assert thinned.mean(0) == pytest.approx(whole.mean(0), abs=0.08)


def test_what_is_no_candidate_comes_after_all_candidates_by_sales(
    shop: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demand.baselines.candidates.POPULAR", 1)
    few = [Customer(each.customer_id, tuple(order(one.ts, "b") for one in each.orders)) for each in shop[:5]]
    whole = problem([*few, *shop[5:]])

    chances = next_chances(whole, **SETTINGS)[:5]

    records = [Record.of(each, CATALOGUE) for each in whole.questions.everyone]
    best = Shelf.at(CUTOFF, sales_of(records, len(CATALOGUE))).best.tolist()
    favourite, *rest = [item for item in best if item != EVEN]
    assert (chances[:, [EVEN, favourite]].min(1) > chances[:, rest].max(1)).all()
    assert (np.diff(chances[:, rest], axis=1) <= 0).all()
    assert best[-1] == 5  # never sold


def test_candidates_are_what_was_met_and_then_what_sells_best(shop: list[Customer]) -> None:
    records = [Record.of(each, CATALOGUE) for each in [Customer("new", (order(CUTOFF - DAY, "d"),)), *shop]]
    moments = [CUTOFF - WEEK, CUTOFF]
    sales = sales_of(records, len(CATALOGUE))
    shelves = [Shelf.at(moment, sales) for moment in moments]

    before, after = candidates(records[0], np.array(moments), NEXT_ORDER, shelves)

    assert before.items.tolist() == shelves[0].best.tolist()  # nothing met yet
    assert after.items.tolist() == [CHANCE, *(item for item in shelves[1].best.tolist() if item != CHANCE)]
    assert np.isfinite(after.features[0]).all()
    assert np.isnan(after.features[1:, 0]).all()
    assert np.isfinite(after.features[1:, -6:]).all()


def test_what_sells_best_is_told_by_sales_before_the_day() -> None:
    moment = 100 * DAY
    people = [
        Customer("1", (order(0, "a"), order(90 * DAY, "a"), order(moment, "bbb"))),
        Customer("2", (order(95 * DAY, "c"),)),
    ]

    shelf = Shelf.at(moment, sales_of([Record.of(each, CATALOGUE) for each in people], len(CATALOGUE)))

    faded = 0.01 + np.array([2 ** (-100 / 28) + 2 ** (-10 / 28), 0, 2 ** (-5 / 28), 0, 0, 0])
    assert shelf.shares == pytest.approx(faded / faded.sum())
    assert shelf.best.tolist() == [2, 0, 1, 3, 4, 5]


@pytest.mark.parametrize("moment", [3 * WEEK, 20 * WEEK, CUTOFF])
def test_questions_and_answers_are_those_of_the_protocol(shop: list[Customer], moment: int) -> None:
    asked = ask(shop, CATALOGUE, moment, WINDOW)
    baskets = zip(asked.everyone, [*asked.horizon_baskets, *asked.other_baskets], strict=True)
    next_items = {
        each.customer_id: items.tolist() for each, items in zip(asked.customers, asked.next_order, strict=True)
    }
    horizon_items = {each.customer_id: basket.items.tolist() for each, basket in baskets}

    for days, expected in ((NEXT_ORDER, next_items), (WINDOW, horizon_items)):
        found = {each.customer_id: bought(Record.of(each, CATALOGUE), moment, days, WINDOW) for each in shop}
        assert {name: items.tolist() for name, items in found.items() if items is not None} == expected


def test_without_earlier_answers_own_orders_count() -> None:
    new = Customer("1", (*(order(CUTOFF - day * DAY, "a") for day in (3, 2, 1)), order(CUTOFF, "b")))

    chances = next_chances(problem([new]), **SETTINGS)

    assert chances[0, BREAD] == pytest.approx((3 + 3 / 4) / 4)
    assert chances[0, 1:].tolist() == [0] * 5
