"""The catalogue: everything that demand is predicted for, and how it sold before a moment."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demand.tables import TABLES

PURCHASES = ["customer_id", "ts", "order_id", "item_id", "quantity", "amount"]
"""Columns of the order lines that sales figures come from."""


@dataclass(frozen=True)
class Catalogue:
    """Items in the order of their indices, with sales figures from the training period.

    Attributes:
        table: the contract's columns of `items`, plus `orders` (how many orders held the item), `mean_quantity` and
            `mean_amount` (of one order's purchase of it; the catalogue's mean where it never sold).
    """

    table: pa.Table

    @classmethod
    def of(cls, items: pa.Table, lines: pa.Table) -> "Catalogue":
        """Items, with sales figures from order lines, PURCHASES."""
        purchases = lines.group_by(["customer_id", "order_id", "item_id"]).aggregate(
            [("quantity", "sum"), ("amount", "sum")]
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
        return cls(pa.table(columns).combine_chunks())

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

    def rows(self) -> list[dict[str, Any]]:
        """The items as dictionaries of the contract's columns."""
        return list(self.table.select(TABLES["items"].names).to_pylist())
