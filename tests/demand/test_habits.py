"""Habits: worked out by hand, and what must hold for every record."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.customer import Browsing, Customer, Order, Review
from demand.habits import EXPECTED, OF_CUSTOMERS, OF_ITEMS, OF_WAITS, SMALLEST, habits
from demand.moments import DAY
from demand.packing import pack, packed_habits
from demand.prompts import Prompt
from demand.record import COLUMNS, ORDERED, Record
from tests.demand.test_prompts import CATALOGUE, customer_of, events

CUSTOMER = Customer(
    "c",
    orders=(
        Order(10 * DAY, ("b", "m"), (1, 2), (1.0, 5.0)),
        Order(12 * DAY, ("unknown",), (1,), (9.0,)),
        Order(14 * DAY, ("b",), (3,), (3.0,)),
        Order(20 * DAY, ("b",), (1,), (1.0,)),
    ),
    browsing=(Browsing(21 * DAY, "view", "r"), Browsing(21 * DAY, "search", text="rye")),
    reviews=(Review(22 * DAY, "m", 2),),
)
NOW = 24 * DAY


def met(customer: Customer, moment: int = NOW, horizon: int = 0) -> dict[int, dict[str, float]]:
    """Features of each item by name."""
    found = habits(Record.of(customer, CATALOGUE), np.array([moment]), np.array([horizon]))
    assert set(found.query_P) <= {0}
    rows = found.item_PF.tolist()
    return {item: dict(zip(OF_ITEMS, row, strict=True)) for item, row in zip(found.item_P.tolist(), rows, strict=True)}


def days(feature: float) -> float:
    return float(np.expm1(2 * feature))


def faded(feature: float) -> float:
    return float(np.exp(2 * feature)) - SMALLEST


def test_frequency_is_counted_by_orders_days_and_orders_ago() -> None:
    bananas, milk = met(CUSTOMER)[0], met(CUSTOMER)[1]

    assert np.expm1([bananas["orders with it"], milk["orders with it"]]) == pytest.approx([3, 1], abs=1e-5)
    half_in_10 = 2**-0.4 + 2**-1.0 + 2**-1.4  # 4, 10 and 14 days ago
    assert faded(bananas["orders with it, fading by half in 10 days"]) == pytest.approx(half_in_10, abs=1e-5)
    half_in_30 = 2 ** (-4 / 30) + 2 ** (-10 / 30) + 2 ** (-14 / 30)
    assert faded(bananas["orders with it, fading by half in 30 days"]) == pytest.approx(half_in_30, abs=1e-5)
    assert faded(bananas["orders with it, fading by half in 2 orders"]) == pytest.approx(1 + 2**-0.5 + 0.5, abs=1e-5)
    assert faded(milk["share of orders with it"]) == pytest.approx(1 / 3, abs=1e-5)


def test_recency_is_told_in_days_and_in_orders() -> None:
    bananas, milk = met(CUSTOMER)[0], met(CUSTOMER)[1]

    since = [bananas[f"days since {which}"] for which in ("last", "second last", "third last", "first")]
    assert [days(each) for each in since] == pytest.approx([4, 10, 14, 14], abs=1e-4)
    assert days(milk["days since last"]) == pytest.approx(14, abs=1e-4)
    assert days(milk["days since second last"]) == pytest.approx(1_000, rel=1e-4)
    assert np.expm1([bananas["orders since last"], milk["orders since last"]]) == pytest.approx([0, 2], abs=1e-5)
    assert np.expm1(bananas["orders since second last"]) == pytest.approx(1, abs=1e-5)


def test_regularity_is_told_by_gaps() -> None:
    bananas, milk = met(CUSTOMER)[0], met(CUSTOMER)[1]

    assert days(bananas["mean gap"]) == pytest.approx(5, abs=1e-4)  # of 4 and 6 days
    assert bananas["deviation of gaps, in mean gaps"] == pytest.approx(1 / 5, abs=1e-5)
    assert bananas["days since last, in mean gaps"] == pytest.approx(np.log(5 / 6), abs=1e-5)
    assert milk["mean gap"] == milk["days since last, in mean gaps"] == 0
    assert bananas["share on this weekday"] == pytest.approx((1 + 1 / 7) / 4, abs=1e-5)  # day 10 is two weeks before


def test_spending_counts_quantities_and_shares() -> None:
    bananas, milk = met(CUSTOMER)[0], met(CUSTOMER)[1]

    assert np.expm1([bananas["last quantity"], milk["last quantity"]]) == pytest.approx([1, 2], abs=1e-5)
    assert np.expm1(bananas["mean quantity"]) == pytest.approx(5 / 3, abs=1e-5)
    assert faded(milk["share of spending"]) == pytest.approx(5 / 10, abs=1e-5)


def test_looks_and_ratings_bring_in_items_that_were_never_bought() -> None:
    found = met(CUSTOMER)

    assert set(found) == {0, 1, 2}
    assert faded(found[2]["looks, fading by half in 30 days"]) == pytest.approx(2**-0.1, abs=1e-5)
    assert found[2]["orders with it"] == 0
    assert [found[item]["last rating"] for item in (0, 1)] == [0, -0.5]


def test_the_customers_own_pace_and_the_question_are_told() -> None:
    found = habits(Record.of(CUSTOMER, CATALOGUE), np.array([NOW, NOW]), np.array([0, 28]))

    next_order, month = (dict(zip(OF_CUSTOMERS, row, strict=True)) for row in found.customer_QC.tolist())
    assert np.expm1(2 * next_order["orders"]) == pytest.approx(3, abs=1e-4)
    assert days(next_order["days since last order"]) == pytest.approx(4, abs=1e-4)
    assert days(next_order["mean gap of orders"]) == pytest.approx(5, abs=1e-4)
    assert np.expm1(2 * next_order["lines of an order"]) == pytest.approx(4 / 3, abs=1e-4)
    assert np.expm1(3 * next_order["different items"]) == pytest.approx(2, abs=1e-4)
    names = ("days asked about", "whether the next order is asked about")
    assert [next_order[name] for name in names] == [0, 1]
    assert [month[name] for name in names] == pytest.approx([np.log(29) / 3, 0])


def test_the_wait_is_told_of_the_first_order_and_of_all_that_was_spent() -> None:
    orders = tuple(Order(day * DAY, ("b",), (1,), (amount,)) for day, amount in ((2, 30.0), (9, -5.0), (12, 20.0)))

    found = habits(Record.of(Customer("c", orders), CATALOGUE), np.array([13 * DAY]), np.array([0]))

    (told,) = (dict(zip(OF_WAITS, row, strict=True)) for row in found.wait_QE.tolist())
    assert days(told["days since first order"]) == pytest.approx(11, abs=1e-4)
    assert np.expm1(4 * told["spending"]) == pytest.approx(50, rel=1e-4)


def test_items_expected_are_those_of_an_order_times_orders_to_come() -> None:
    weekly = Customer("c", tuple(Order(week * 7 * DAY, ("b", "m"), (1, 1), (1.0, 1.0)) for week in range(100)))

    found = habits(Record.of(weekly, CATALOGUE), np.array([100 * 7 * DAY] * 2), np.array([0, 28]))

    assert np.exp(found.customer_QC[:, EXPECTED]) == pytest.approx([2, 8], rel=0.15)


def test_nothing_is_known_of_a_stranger() -> None:
    assert met(Customer("new")) == {}
    assert met(CUSTOMER, moment=10 * DAY) == {}


@settings(max_examples=60)
@given(events, st.lists(st.integers(0, 400 * DAY), min_size=1, max_size=4))
def test_each_question_sees_what_was_before_it_and_no_more(
    drawn: list[tuple[int, list[tuple[str, float]]]], moments: list[int]
) -> None:
    record = Record.of(customer_of(drawn), CATALOGUE)

    together = habits(record, np.array(moments), np.zeros(len(moments)))

    assert np.isfinite(together.item_PF).all()
    assert np.isfinite(together.customer_QC).all()
    assert np.isfinite(together.wait_QE).all()
    for query, moment in enumerate(moments):
        before = record.lines(record.times < moment)
        alone = habits(before, np.array([moment]), np.zeros(1))
        here = together.query_P == query
        assert together.item_P[here].tolist() == alone.item_P.tolist() == np.unique(before.items).tolist()
        assert together.count_P[here].tolist() == [int((before.items == item).sum()) for item in alone.item_P]
        np.testing.assert_allclose(together.item_PF[here], alone.item_PF, atol=1e-4)
        np.testing.assert_allclose(together.customer_QC[query], alone.customer_QC[0], atol=1e-4)
        np.testing.assert_allclose(together.wait_QE[query], alone.wait_QE[0], atol=1e-4)


def test_packing_keeps_each_prompts_own_habits() -> None:
    records = [Record.of(each, CATALOGUE) for each in (CUSTOMER, Customer("new"), CUSTOMER)]
    asked = [np.array([11, 24]) * DAY, np.array([24]) * DAY, np.array([24]) * DAY]
    prompts = [
        Prompt(
            np.arange(3),
            np.arange(len(moments)),
            moments,
            np.zeros(len(moments)),
            record,
            np.zeros(len(moments)),
            [np.zeros(0)] * len(moments),
        )
        for record, moments in zip(records, asked, strict=True)
    ]

    found = packed_habits(pack(prompts))

    assert found.query_P.tolist() == [0, 0, 1, 1, 1, 3, 3, 3]
    assert found.item_P.tolist() == [0, 1, 0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(found.item_PF[2:5], found.item_PF[5:])


def test_a_record_lists_what_the_catalogue_knows_in_time_order() -> None:
    record = Record.of(CUSTOMER, CATALOGUE)

    assert list(COLUMNS) == list(vars(record))
    assert record.items.tolist() == [0, 1, 0, 0, 2, 1]
    assert record.orders.tolist() == [1, 1, 2, 3, 0, 0]
    assert record.opens_order.tolist() == [True, False, True, True, False, False]
    assert record.quantities[record.kinds == ORDERED].tolist() == [1, 2, 3, 1]
