"""Sales by day, against values worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.catalogue import PURCHASES, Catalogue
from demand.moments import DAY
from demand.sales import MOST_DAYS, OF_SALES, Sales, visits
from demand.tables import TABLES

MILK, BREAD, SALT = range(3)
VISITS = [  # customer, item, day
    (1, MILK, 10),
    (2, MILK, 12),
    (1, MILK, 12),
    (1, MILK, 39),
    (2, BREAD, 39),
]


def sales_of(lines: list[tuple[int, int, int]]) -> Sales:
    customers, items, days = np.array(lines).T
    return Sales.of(days, items, visits(customers, items, days), 3)


def test_a_customers_first_and_second_order_with_an_item_are_told_from_later_ones() -> None:
    customers, items, days = np.array(VISITS).T

    counts = visits(customers, items, days)

    assert counts.tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 0]]


def test_features_tell_what_sold_before_a_day_and_of_late() -> None:
    found = sales_of(VISITS).features(np.array([9, 13, 40]))

    shares = np.array([[1 / 3] * 3, [4 / 6, 1 / 6, 1 / 6], [5 / 8, 2 / 8, 1 / 8]])
    assert found[..., 0] == pytest.approx(np.log(shares))
    column = {name: place for place, name in enumerate(OF_SALES)}
    lately = {days: column[f"sold in the last {days} days, against its average"] for days in (3, 7, 28)}
    assert found[0, :, lately[3]] == pytest.approx([0, 0, 0])
    assert found[1, MILK, lately[3]] == pytest.approx(np.log((3 + 2) / (3 * 4 / 6 + 2)))
    assert found[2, MILK, lately[7]] == pytest.approx(np.log((1 + 2) / (2 * 5 / 8 + 2)))
    assert found[2, BREAD, lately[28]] == pytest.approx(np.log((1 + 2) / (4 * 2 / 8 + 2)))
    assert found[2, SALT, lately[28]] == pytest.approx(np.log(2 / (4 / 8 + 2)))
    assert found[2, :, column["orders with it of a buyer"]] == pytest.approx(np.log([6 / 3, 3 / 2, 2 / 1]))
    assert found[2, :, column["share of buyers who bought it again"]] == pytest.approx([1.3 / 3, 0.3 / 2, 0.3])


def test_later_days_than_are_known_are_like_the_last() -> None:
    sales = sales_of(VISITS)

    assert sales.last == 40
    assert np.array_equal(sales.features(np.array([400])), sales.features(np.array([40])))


def test_one_wrong_date_does_not_make_a_table_of_centuries() -> None:
    sales = sales_of([(1, MILK, 10), (1, MILK, 19_000), (2, BREAD, 19_001)])

    assert len(sales.before) == MOST_DAYS + 2
    assert sales.last == 19_002
    assert sales.before[0].tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert sales.before[-1].tolist() == [[2, 1, 1], [1, 1, 0], [0, 0, 0]]


def test_fading_counts_each_order_less_the_older_it_is() -> None:
    assert sales_of(VISITS).fading(42, 10.0) == pytest.approx([2**-3.2 + 2 * 2**-3 + 2**-0.3, 2**-0.3, 0])


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 60)), unique=True), st.integers(0, 61))
def test_what_a_day_knows_is_what_lies_before_it(lines: list[tuple[int, int, int]], day: int) -> None:
    past = [line for line in lines if line[2] < day]
    if not past:
        return

    whole = sales_of(lines)
    assert np.array_equal(whole.before[min(day, whole.last) - whole.first], sales_of(past).before[-1])


def test_a_catalogue_keeps_its_sales() -> None:
    items = pa.table({name: ["b", "m", "s"] for name in TABLES["items"].names})
    lines = [(f"c{who}", day * DAY, f"{who}-{day}", "mbs"[what], 1.0, 2.0) for who, what, day in VISITS]
    columns = dict(zip(PURCHASES, zip(*lines, strict=True), strict=True))
    columns["ts"] = pa.array(columns["ts"], pa.timestamp("us", "UTC"))

    catalogue = Catalogue.of(items, [pa.table(columns)])

    direct = sales_of([(who, [1, 0, 2][what], day) for who, what, day in VISITS])
    assert catalogue.sales.first == direct.first
    assert np.array_equal(catalogue.sales.before, direct.before)
    assert catalogue.sales.before[-1, :, 0].tolist() == catalogue.orders.tolist()
