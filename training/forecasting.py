"""Supply over a whole dataset: what all customers together will buy, item by item, store by store and week by week.

Shapes: W weeks, S stores, V catalogue items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demand.catalogue import Catalogue
from demand.dataset import Dataset, earlier
from demand.errors import DataError, SettingsError
from demand.locations import Location
from demand.moments import DAY, moment
from demand.tables import TABLES
from demand.uses.outlook import Outlook
from demand.uses.stores import UNKNOWN, Placed
from demand.uses.supply import GROUPINGS, LEVELS, Expected, Past, Split, Supply, by_week, groups_of, interval
from training.prediction import Asked, ask_all, write_rows

FORECASTS = pa.schema(
    [
        ("group", pa.string()),
        ("store", pa.string()),
        ("week", pa.int32()),
        ("expected_quantity", pa.float64()),
        *((f"{end}_{level * 100:.0f}", pa.float64()) for level in LEVELS for end in ("low", "high")),
        ("expected_amount", pa.float64()),
        ("level", pa.float64()),
    ]
)


def forecast(asked: Asked, split: Split, out: Location) -> Supply:
    """Writes what all customers together will buy, with intervals: rows as FORECASTS.

    The two periods before, as long as the horizon, say how items sold against what was expected of them, and the last
    one how far totals are off.

    Raises:
        SettingsError: there is no such grouping, or no horizon.
        DataError: nobody ordered before the days before, or stores are asked for and no order names one.
    """
    if split.by not in GROUPINGS or not asked.horizon_days:
        raise SettingsError(f"no forecast by '{split.by}': choose one of {', '.join(GROUPINGS)}, and a horizon")
    stores = _stores(asked) if split.stores else [UNKNOWN]
    catalogue = asked.catalogue
    lately = replace(asked, as_of=asked.as_of - asked.horizon_days * DAY)
    before = replace(asked, as_of=lately.as_of - asked.horizon_days * DAY)
    past = [Past(_expected(lately, split, stores), _sold(lately, split, stores, catalogue))]
    if moment(Dataset.open(asked.data).manifest["first_order"]) < before.as_of:
        whole = replace(split, weeks=False)
        past.insert(0, Past(_expected(before, whole, stores), _sold(before, whole, stores, catalogue)))
    groups, names = groups_of(catalogue, split.by)
    now = _expected(asked, split, stores)
    found = Supply.of(now, past, groups, len(names))
    write_rows([_rows(found, now.grouped(groups, len(names)), split, stores, names)], FORECASTS, out)
    return found


def _rows(found: Supply, without: Expected, split: Split, stores: Sequence[str], names: Sequence[str]) -> pa.Table:
    """One row a group, of each store and week. `without` the level."""
    units = found.expected.units
    week, store, group = (each.ravel() for each in np.indices(units.shape))
    columns: dict[str, Any] = {
        "group": pa.array(names).take(pa.array(group)),
        "store": pa.array(stores).take(pa.array(store)) if split.stores else pa.nulls(units.size, pa.string()),
        "week": week + 1 if split.weeks else pa.nulls(units.size, pa.int32()),
        "expected_quantity": units.ravel(),
    }
    for level in LEVELS:
        low, high = interval(found.expected, found.spread, level)
        columns |= {f"low_{level * 100:.0f}": low.ravel(), f"high_{level * 100:.0f}": high.ravel()}
    factors = np.divide(units, without.units, out=np.ones_like(units), where=without.units > 0)
    return pa.table({**columns, "expected_amount": found.expected.amount.ravel(), "level": factors.ravel()})


@dataclass(frozen=True)
class Places:
    """`Placed` of some customers as rows: one a store, and one without a store that has `rest`."""

    stores: bool

    def __call__(self, outlook: Outlook) -> pa.Table:
        """horizon_days, store, orders, and sums: lists of 3 V numbers."""
        placed = Placed.of(outlook, self.stores)
        sums = np.concatenate([placed.rest[None], placed.own])
        columns = {"store": [None, *placed.stores], "orders": [0.0, *placed.orders]}
        lists = pa.FixedSizeListArray.from_arrays(pa.array(sums.ravel()), sums[0].size)
        days = np.full(len(sums), outlook.questions[0].horizon_days)
        return pa.table({"horizon_days": days, **columns, "sums": lists})

    @staticmethod
    def read(rows: pa.Table, horizon_days: int) -> Placed:
        """The inverse of those rows that are about a horizon: of any part of the rows, or of several's."""
        rows = rows.filter(pc.equal(rows["horizon_days"], horizon_days))
        items = rows["sums"].type.list_size // 3
        sums = rows["sums"].combine_chunks().flatten().to_numpy().reshape(len(rows), 3, items)
        named = rows["store"].is_valid().to_numpy()
        stores = rows["store"].drop_null().to_pylist()
        return Placed(stores, rows["orders"].to_numpy()[named], sums[named], sums[~named].sum(0))


def _expected(asked: Asked, split: Split, stores: Sequence[str]) -> Expected:
    """Of each week and store, (W, S, V)."""
    ends = split.ends(asked.horizon_days)
    until: dict[int, list[Placed]] = {days: [] for days in ends}
    for rows in ask_all(asked, Places(split.stores), ends):
        for days, so_far in until.items():
            so_far[:] = [Placed.total([*so_far, Places.read(rows, days)])]
    return by_week([each.among(stores) for (each,) in until.values()])


def _sold(asked: Asked, split: Split, stores: Sequence[str], catalogue: Catalogue) -> np.ndarray:
    """(W, S, V) units sold from the moment on, within the horizon."""
    ends = split.ends(asked.horizon_days)
    after = [("ts", ">=", pa.scalar(asked.as_of, TABLES["orders"].field("ts").type))]
    before = earlier(asked.as_of + asked.horizon_days * DAY)
    sold = np.zeros((len(ends), len(stores), len(catalogue) + 1))
    items, names = pa.array(catalogue.item_ids), pa.array(stores)
    columns = ["customer_id", "ts", "item_id", "quantity", "store"]
    for lines in Dataset.open(asked.data).lines(columns, [*before, *after]):
        days = (np.asarray(lines["ts"].cast(pa.int64())) - asked.as_of) // DAY
        item = pc.index_in(lines["item_id"], value_set=items).fill_null(len(catalogue))
        store = (
            pc.index_in(lines["store"].fill_null(UNKNOWN), value_set=names)
            if split.stores
            else np.zeros(len(lines), int)
        )
        np.add.at(sold, (np.searchsorted(ends, days, side="right"), store, item), np.asarray(lines["quantity"]))
    return sold[..., : len(catalogue)]


def _stores(asked: Asked) -> list[str]:
    """Of all orders before the moment, sorted."""
    lines = Dataset.open(asked.data).lines(["customer_id", "store"], earlier(asked.as_of))
    names = {name for some in lines for name in pc.unique(some["store"]).to_pylist()}
    if not names - {None}:
        raise DataError(f"{asked.data}: no order says in which store it was made; import the data again, with 'store'")
    return sorted(name or UNKNOWN for name in names)
