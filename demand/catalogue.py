"""The catalogue: everything that demand is predicted for, and how it sold before a moment."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demand.moments import DAY
from demand.sales import Sales, visits
from demand.tables import TABLES

PURCHASES = ["customer_id", "ts", "order_id", "item_id", "quantity", "amount"]
"""Columns of the order lines that sales figures come from."""
DAILY = ["sold_days", "sold_orders", "sold_first", "sold_again"]


@dataclass(frozen=True)
class Catalogue:
    """Items in the order of their indices, with sales figures from before a moment: the end of training, or later.

    Attributes:
        table: the contract's columns of `items`, plus `orders` (how many orders held the item), `mean_quantity` and
            `mean_amount` (of one order's purchase of it; the catalogue's mean where it never sold), and by day on which
            it sold, in lists, DAILY: which day, and what the day added to each count of `demand.sales.Sales`.
    """

    table: pa.Table

    @classmethod
    def of(cls, items: pa.Table, lines: pa.Table) -> "Catalogue":
        """Items, with sales figures from order lines, PURCHASES."""
        purchases = lines.group_by(["customer_id", "order_id", "item_id"]).aggregate(
            [("quantity", "sum"), ("amount", "sum"), ("ts", "min")]
        )
        sold = purchases.group_by("item_id").aggregate(
            [("quantity_sum", "count"), ("quantity_sum", "mean"), ("amount_sum", "mean")]
        )
        overall = [pc.mean(purchases[name]).as_py() or 0.0 for name in ("quantity_sum", "amount_sum")]
        joined = items.join(sold, "item_id").sort_by("item_id")
        columns = {name: joined[name] for name in TABLES["items"].names}
        columns["orders"] = pc.fill_null(joined["quantity_sum_count"], 0)
        columns["mean_quantity"] = pc.fill_null(joined["quantity_sum_mean"], overall[0])
        columns["mean_amount"] = pc.fill_null(joined["amount_sum_mean"], overall[1])
        return cls(pa.table({**columns, **_daily(purchases, columns["item_id"])}).combine_chunks())

    def with_sales(self, lines: pa.Table) -> "Catalogue":
        """The same items, with sales figures from other order lines, PURCHASES."""
        return Catalogue.of(self.table.select(TABLES["items"].names), lines)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def item_ids(self) -> list[str]:
        return list(self.table["item_id"].to_pylist())

    @cached_property
    def names(self) -> list[str]:
        return list(self.table["name"].to_pylist())

    @cached_property
    def index(self) -> dict[str, int]:
        """From item id to index."""
        return {item: index for index, item in enumerate(self.item_ids)}

    @cached_property
    def orders(self) -> np.ndarray:
        return np.asarray(self.table["orders"], dtype=np.int64)

    @cached_property
    def categories(self) -> np.ndarray:
        """(V,) int32, equal for items of one category; an item without one is a category of its own."""
        numbers: dict[str | int, int] = {}
        names = enumerate(self.table["category"].to_pylist())
        return np.array([numbers.setdefault(name or place, len(numbers)) for place, name in names], dtype=np.int32)

    @cached_property
    def mean_quantity(self) -> np.ndarray:
        return np.asarray(self.table["mean_quantity"], dtype=np.float64)

    @cached_property
    def mean_amount(self) -> np.ndarray:
        return np.asarray(self.table["mean_amount"], dtype=np.float64)

    @cached_property
    def prices(self) -> np.ndarray:
        """(V,) of one unit, in currency units: as the shop says, else as it sold; NaN where neither is known."""
        said = np.asarray(self.table["price"].to_numpy(zero_copy_only=False), dtype=np.float64)
        sold = np.where(self.orders > 0, self.mean_amount / np.maximum(self.mean_quantity, 1e-12), np.nan)
        return np.where(np.isnan(said), sold, said)

    @cached_property
    def sales(self) -> Sales:
        """Day by day; nothing where the table does not tell."""
        if DAILY[0] not in self.table.column_names:
            return Sales.none(len(self))
        lists = [self.table[name].combine_chunks() for name in DAILY]
        days, *counts = (np.asarray(each.flatten(), dtype=np.int64) for each in lists)
        items = np.repeat(np.arange(len(self)), np.asarray(lists[0].value_lengths(), dtype=np.int64))
        return Sales.of(days, items, np.stack(counts, axis=1), len(self))

    def rows(self) -> list[dict[str, Any]]:
        """The items as dictionaries of the contract's columns."""
        return list(self.table.select(TABLES["items"].names).to_pylist())


def _daily(purchases: pa.Table, item_ids: pa.ChunkedArray) -> dict[str, pa.Array]:
    """The columns DAILY of purchases, one row for each order and item."""
    places = pc.index_in(purchases["item_id"], value_set=item_ids.combine_chunks())
    known = purchases.filter(places.is_valid())
    items = np.asarray(places.drop_null(), dtype=np.int64)
    customers = np.asarray(known["customer_id"].combine_chunks().dictionary_encode().indices)
    times = np.asarray(known["ts_min"].cast(pa.int64()))
    days = times // DAY
    first = int(days.min(initial=0))
    span = int(days.max(initial=0)) - first + 1
    cells, cell_L = np.unique(items * span + days - first, return_inverse=True)
    counts = [np.bincount(cell_L, each, len(cells)) for each in visits(customers, items, times).T]
    starts = pa.array(np.searchsorted(cells, np.arange(len(item_ids) + 1) * span), type=pa.int32())
    values = [cells % span + first, *counts]
    return {
        name: pa.ListArray.from_arrays(starts, pa.array(each.astype(np.int32)))
        for name, each in zip(DAILY, values, strict=True)
    }
