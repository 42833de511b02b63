"""Stability of populations: worked out by hand, and as it must be for any counts."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand.errors import SettingsError
from demand.moments import DAY
from demand.stability import (
    LIMITS,
    PSI_LIMITS,
    Limits,
    Signal,
    incoming_signals,
    intakes,
    parse_limit,
    population_stability_index,
    stability_by_chance,
    within,
)
from demand.tables import TIMESTAMP

COUNTS = st.integers(2, 12).flatmap(
    lambda size: st.tuples(*(st.lists(st.integers(0, 10_000), min_size=size, max_size=size) for _ in range(2)))
)


def lines(*rows: tuple[str, float, str, str, float]) -> pa.Table:
    """Customer, day, order, item and amount."""
    customers, days, orders, items, amounts = zip(*rows, strict=True)
    ts = pa.array([int(day * DAY) for day in days]).cast(TIMESTAMP)
    names = ["customer_id", "ts", "order_id", "item_id", "amount"]
    return pa.table([pa.array(customers), ts, pa.array(orders), pa.array(items), pa.array(amounts)], names=names)


def test_the_index_is_what_the_formula_says() -> None:
    # With half an event more in each group: shares of .5, .3 and .2 against .3, .3 and .4.
    then, now = np.array([49.5, 29.5, 19.5]), np.array([29.5, 29.5, 39.5])

    by_hand = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.4 - 0.2) * math.log(0.4 / 0.2)

    assert by_hand == pytest.approx(0.2408, abs=1e-4)
    assert population_stability_index(then, now) == pytest.approx(by_hand)


@given(COUNTS)
def test_the_index_is_never_negative_the_same_both_ways_and_0_for_equal_counts(counts: tuple[list[int], ...]) -> None:
    then, now = map(np.array, counts)

    index = population_stability_index(then, now)

    assert index >= 0
    assert index == pytest.approx(population_stability_index(now, then))
    assert population_stability_index(then, then) == 0


def test_samples_of_one_population_rarely_differ_by_more_than_chance_allows() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    pairs = [(rng.multinomial(500, shares), rng.multinomial(300, shares)) for _ in range(400)]

    beyond = [population_stability_index(*pair) > stability_by_chance(*pair) for pair in pairs]

    assert 0.01 < np.mean(beyond) < 0.1
    assert stability_by_chance(np.array([5, 0]), np.array([3, 0])) == 0


@pytest.mark.parametrize(
    ("value", "chance", "verdict"),
    [
        (0.0999, 0.0, "steady"),
        (0.1, 0.0, "notice"),
        (0.2499, 0.0, "notice"),
        (0.25, 0.0, "act"),
        (0.25, 0.25, "steady"),
        (-1.0, 0.0, "steady"),
    ],
)
def test_a_verdict_changes_at_its_limits_and_is_steady_within_chance(value: float, chance: float, verdict: str) -> None:
    assert Signal("gaps", "", value, chance, PSI_LIMITS).verdict == verdict


def test_limits_are_the_signals_own_unless_others_are_given() -> None:
    name, limits = parse_limit("gaps=0.2:0.5")

    found = within([Signal("gaps", "", 0.3), Signal("ndcg@10", "", 0.3)], {name: limits})

    assert [each.limits for each in found] == [Limits(0.2, 0.5), LIMITS["ndcg@10"]]
    for wrong in (
        "gaps=0.5:0.2",
        "gaps",
        "gaps=a:b",
        "gaps=0.1",
        "gaps=-1:2",
        "gaps=nan:nan",
        "gaps=0:0",
        "mood=0.1:0.2",
    ):
        with pytest.raises(SettingsError, match="--limit"):
            parse_limit(wrong)


def test_what_came_in_is_counted_by_order_with_gaps_that_reach_back_before_the_period() -> None:
    ann = lines(
        ("ann", 1, "1", "a", 2.0), ("ann", 1, "1", "b", 3.0), ("ann", 4, "2", "a", 1.0), ("ann", 9, "3", "c", 4.0)
    )
    bob = lines(("bob", 8, "4", "a", 5.0))

    then, now = intakes([ann, bob], [(0, 5 * DAY), (5 * DAY, 10 * DAY)], known_before=5 * DAY)

    assert then.gaps.tolist() == [3.0]
    assert (then.baskets.tolist(), then.spend.tolist()) == ([2, 1], [5.0, 1.0])
    assert (then.lines, then.customers, then.newcomers) == ({"a": 2, "b": 1}, 1, 0)
    assert now.gaps.tolist() == [5.0]
    assert (now.lines, now.customers, now.newcomers) == ({"c": 1, "a": 1}, 2, 1)


def test_signals_say_what_has_changed() -> None:
    rows = [("ann", day, f"{day}", "a", 2.0) for day in range(40)]
    changed = [("ann", day + 0.5, f"{day}", "new" if day % 2 else "b", 9.0) for day in range(40, 80, 4)]
    then, now = intakes([lines(*rows, *changed)], [(0, 40 * DAY), (40 * DAY, 80 * DAY)], known_before=40 * DAY)

    found = {each.name: each for each in incoming_signals(then, now, {"a": "fruit", "b": "tools"})}
    same = {each.name: each for each in incoming_signals(then, then, {"a": "fruit", "b": "tools"})}

    assert set(found) == set(LIMITS) - {"ndcg@10", "calibration-error", "purchases", "conversion"}
    assert {name for name in found if found[name].verdict == "act"} == {"categories", "gaps", "spend", "hours"}
    assert found["unknown-items"].value == 0
    assert all(each.value == 0 for each in same.values())
    assert "median 4, was 1" in found["gaps"].text


def test_items_that_did_not_sell_in_training_and_new_customers_are_shares() -> None:
    table = lines(("ann", 1, "1", "a", 1.0), ("ann", 6, "2", "a", 1.0), ("ann", 7, "3", "x", 1.0))
    other = lines(("bob", 8, "4", "a", 1.0))
    then, now = intakes([table, other], [(0, 5 * DAY), (5 * DAY, 10 * DAY)], known_before=5 * DAY)

    found = {each.name: each.value for each in incoming_signals(then, now, {"a": "a"})}

    assert found["unknown-items"] == pytest.approx(1 / 3)
    assert found["new-customers"] == pytest.approx(1 / 2)
