"""The catalogue: everything that demand is predicted for, and how it sold before a moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from demand.moments import DAY
from demand.sales import Sales, visits
from demand.tables import TABLES

PURCHASES = ["customer_id", "ts", "order_id", "item_id", "quantity", "amount"]
"""Columns of the order lines that sales figures come from."""
DAYS, FIRST_DAY = 1 << 22, -719_162
"""More days than there are from the year 1, which counted from 1970-01-01 on begins with FIRST_DAY, to 9999."""
FEWEST_ADDED = 1 << 20
"""Rows that are waited for before they are added up."""
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
    def of(cls, items: pa.Table, lines: Iterable[pa.Table]) -> "Catalogue":
        """Items, with sales figures from order lines, PURCHASES, some customers with all of theirs at a time."""
        items = items.select(TABLES["items"].names).sort_by("item_id")
        tally = Tally(items["item_id"].to_pylist())
        for some in lines:
            tally.add(some)
        return cls(pa.table({**{name: items[name] for name in items.column_names}, **tally.columns()}).combine_chunks())

    def with_sales(self, lines: Iterable[pa.Table]) -> "Catalogue":
        """The same items, with sales figures from other order lines, as in `of`."""
        return Catalogue.of(self.table, lines)

    def without_days(self) -> "Catalogue":
        """The same without DAILY, nearly all of its size, for who writes prompts."""
        return Catalogue(self.table.drop_columns(DAILY))

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


class Tally:
    """What sold, added up; as large as the items' days on which they sold, however many customers bought them."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        self._places = {item: place for place, item in enumerate(item_ids)}
        self._totals = np.zeros((len(item_ids) + 1, 3))  # orders, quantity, amount; in the last row of everything
        self._days: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, lines: pa.Table) -> None:
        """Counts PURCHASES of some customers: all of theirs."""
        by_order = lines.group_by(["customer_id", "ts", "order_id", "item_id"], use_threads=False)
        purchases = by_order.aggregate([("quantity", "sum"), ("amount", "sum")])
        figures_L3 = np.stack(
            [np.ones(len(purchases)), *(np.asarray(purchases[name]) for name in ("quantity_sum", "amount_sum"))], axis=1
        )
        self._totals[-1] += figures_L3.sum(0)
        names = purchases["item_id"].combine_chunks().dictionary_encode()
        places = np.array([self._places.get(name, -1) for name in names.dictionary.to_pylist()], dtype=np.int64)
        items = places[np.asarray(names.indices)]
        known = items >= 0
        items = items[known]
        np.add.at(self._totals, items, figures_L3[known])
        customers = np.asarray(purchases["customer_id"].combine_chunks().dictionary_encode().indices)[known]
        times = np.asarray(purchases["ts"].cast(pa.int64()))[known]
        self._days.append((items * DAYS + times // DAY - FIRST_DAY, visits(customers, items, times)))
        if sum(len(cells) for cells, _ in self._days[1:]) > max(len(self._days[0][0]), FEWEST_ADDED):
            self._add_up()

    def columns(self) -> dict[str, pa.Array]:
        """The catalogue's columns of sales figures."""
        orders = self._totals[:-1, 0]
        overall = self._totals[-1, 1:] / max(self._totals[-1, 0], 1)
        means = np.where(orders[:, None] > 0, self._totals[:-1, 1:] / np.maximum(orders, 1)[:, None], overall)
        cells, counts = self._add_up()
        starts = pa.array(np.searchsorted(cells, np.arange(len(orders) + 1) * DAYS), type=pa.int32())
        daily = zip(DAILY, [cells % DAYS + FIRST_DAY, *counts.T], strict=True)
        return {
            "orders": pa.array(orders.astype(np.int64)),
            "mean_quantity": pa.array(means[:, 0]),
            "mean_amount": pa.array(means[:, 1]),
            **{name: pa.ListArray.from_arrays(starts, pa.array(each.astype(np.int32))) for name, each in daily},
        }

    def _add_up(self) -> tuple[np.ndarray, np.ndarray]:
        """One row for each item and day, (C,) as item times DAYS and the day, and (C, 3) counts."""
        none = (np.zeros(0, dtype=np.int64), np.zeros((0, 3), dtype=np.int64))
        cells_L, counts_L3 = map(np.concatenate, zip(none, *self._days, strict=True))
        cells, cell_L = np.unique(cells_L, return_inverse=True)
        counts = np.zeros((len(cells), 3), dtype=np.int64)
        np.add.at(counts, cell_L, counts_L3)
        self._days = [(cells, counts)]
        return cells, counts
