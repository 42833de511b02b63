"""Totals by group, store and week as the endpoint tells them, of what a made-up model expects; no Ray."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from demand.catalogue import Catalogue
from demand.errors import RecordError
from demand.uses.outlook import Outlook
from demand.uses.supply import Expected, Spread, interval
from serving.routes.forecast import ForecastRequest, ForecastResponse, forecast
from serving.schemas import ModelInfo

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
MODEL = ModelInfo(name="demand", version=1, prompt_format="compact")
NORTH = {"ts": "2024-05-31T23:59:59Z", "items": [{"item_id": "something else"}], "store": "north"}
SOUTH = {**NORTH, "store": "south"}


def asking(*histories: list[dict[str, Any]], **fields: Any) -> ForecastRequest:
    customers = [{"purchase_history": history} for history in histories or ([],)]
    return ForecastRequest.model_validate({"customers": customers, "as_of": AS_OF, **fields})


def answer(catalogue: Catalogue, request: ForecastRequest, purchases: np.ndarray) -> ForecastResponse:
    """With so many purchases of each item until the end of each week by each customer, (W, R, V)."""
    until = purchases.reshape(-1, len(catalogue))
    return forecast(MODEL, request, Outlook(catalogue, request.questions(), until[:, 0], until, until, until))


def first_item(catalogue: Catalogue, *until: list[float]) -> np.ndarray:
    """(W, R, V): purchases by each customer of the first item alone."""
    found = np.zeros((len(until), len(until[0]), len(catalogue)))
    found[..., 0] = until
    return found


def test_each_customer_is_asked_about_until_the_end_of_each_week() -> None:
    asked = asking([NORTH], [], horizon_days=17, weeks=True).questions()

    assert [each.horizon_days for each in asked] == [7, 7, 14, 14, 17, 17]
    assert [len(each.customer.orders) for each in asked] == [1, 0] * 3
    assert [each.horizon_days for each in asking(horizon_days=17).questions()] == [17]


def test_a_week_has_what_is_expected_until_its_end_less_what_is_until_the_week_before(catalogue: Catalogue) -> None:
    request = asking([], [], horizon_days=10, weeks=True, spread=0.2, falls=0.3)
    unit, amount = float(catalogue.mean_quantity[0]), float(catalogue.mean_amount[0])

    first, second = answer(catalogue, request, first_item(catalogue, [1.0, 2.0], [1.5, 2.75])).groups

    assert (first.group, first.store, first.week) == (catalogue.item_ids[0], None, 1)
    assert (second.group, second.store, second.week) == (catalogue.item_ids[0], None, 2)
    assert [first.expected_quantity, second.expected_quantity] == pytest.approx([3 * unit, 1.25 * unit])
    assert [first.expected_amount, second.expected_amount] == pytest.approx([3 * amount, 1.25 * amount])
    units = np.array([3 * unit, 1.25 * unit])
    for place, level in enumerate((0.5, 0.8, 0.95)):
        ends = interval(Expected(units, units * unit, units), Spread(0.2, 0.3), level)
        told = [[each.intervals[place].low, each.intervals[place].high] for each in (first, second)]
        assert told == [pytest.approx(both) for both in np.transpose(ends)]


def test_weeks_and_stores_are_told_where_they_are_asked_for_alone(catalogue: Catalogue) -> None:
    purchases = first_item(catalogue, [1.0, 1.0], [2.0, 3.0])

    both = answer(catalogue, asking([NORTH], [SOUTH], horizon_days=14, stores=True, weeks=True), purchases).groups
    neither = answer(catalogue, asking([NORTH], [SOUTH], horizon_days=14), purchases[1:])

    # Half of a customer's purchases are where it was, by its one order, and half where everybody was, by one more.
    unit = float(catalogue.mean_quantity[0])
    assert [(each.store, each.week) for each in both] == [("south", 1), ("south", 2), ("north", 1), ("north", 2)]
    assert [each.expected_quantity / unit for each in both] == pytest.approx([1, 1.75, 1, 1.25])
    (row,) = neither.model_dump()["groups"]
    assert set(row) == {"group", "expected_quantity", "expected_amount", "intervals"}
    assert row["expected_quantity"] == pytest.approx(5 * unit)


@settings(max_examples=30)
@given(
    st.integers(0, 999), st.integers(1, 91), st.sampled_from(["item", "category", "all"]), st.booleans(),
    st.sampled_from([0.0, 0.01, 3.0]),
)  # fmt: skip
def test_weeks_add_up_to_the_answer_without_them(
    catalogue: Catalogue, seed: int, days: int, by: str, stores: bool, least: float
) -> None:
    fields = {"horizon_days": days, "by": by, "stores": stores, "least": least, "levels": {catalogue.item_ids[1]: 2.0}}
    whole = asking([NORTH, SOUTH], [NORTH], [], **fields)
    weekly = asking([NORTH, SOUTH], [NORTH], [], **fields, weeks=True)
    purchases = np.random.default_rng(seed).random((len(weekly.questions()), len(catalogue)))  # may fall, too

    weeks = answer(catalogue, weekly, purchases).groups
    groups = answer(catalogue, whole, purchases[-3:]).groups

    count = -(-days // 7)
    assert [(each.group, each.store, each.week) for each in weeks] == [
        (each.group, each.store, week + 1) for each in groups for week in range(count)
    ]
    for sums in ("expected_quantity", "expected_amount"):
        found = np.array([getattr(each, sums) for each in weeks]).reshape(-1, count)
        assert found.sum(1) == pytest.approx([getattr(each, sums) for each in groups], rel=1e-12)
        assert (found >= 0).all()


def test_customers_times_weeks_have_an_end() -> None:
    many = [[]] * 64

    assert len(asking(*many, horizon_days=28, weeks=True).questions()) == 256
    assert len(asking(*many, horizon_days=91).questions()) == 64
    with pytest.raises(ValidationError, match="customers times weeks are more than 256") as refused:
        asking(*many, horizon_days=29, weeks=True)
    assert [each["loc"] for each in refused.value.errors()] == [("weeks",)]
    with pytest.raises(ValidationError, match="horizon_days") as refused:
        asking(*many, horizon_days=92, weeks=True)
    assert refused.value.error_count() == 1
    with pytest.raises(ValidationError, match="valid boolean"):
        asking(weeks="each")


def test_an_answer_that_would_be_too_large_is_refused(catalogue: Catalogue) -> None:
    def asked(stores: int, **fields: Any) -> ForecastResponse:
        history = [{**NORTH, "store": f"store {number}"} for number in range(stores)]
        request = asking(history, horizon_days=91, stores=True, weeks=True, least=0, **fields)
        return answer(catalogue, request, np.ones((13, 1, len(catalogue))))

    parts = 13 * len(catalogue)
    stores = 100_000 // parts + 1
    with pytest.raises(RecordError, match=f"least: leaves {stores * parts:,} rows"):
        asked(stores)
    assert len(asked(stores, by="all").groups) == stores * 13
    with pytest.raises(RecordError, match="stores: items in all stores and weeks are more than 2,000,000"):
        asked(2_000_000 // parts + 1)
