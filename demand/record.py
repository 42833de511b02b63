"""A customer's record: everything done with items of the catalogue, as columns of numbers.

Where a prompt cuts a long history off, the record keeps all of it.
"""

from dataclasses import dataclass

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer

ORDERED, LOOKED, RATED = 0, 1, 2
"""Kinds of lines."""
COLUMNS: dict[str, type] = {
    "items": np.int32,
    "categories": np.int32,
    "times": np.int64,
    "orders": np.int32,
    "kinds": np.int8,
    "quantities": np.float32,
    "amounts": np.float32,
}


@dataclass(frozen=True)
class Record:
    """Lines in time order, each (L,).

    Attributes:
        items: indices in the catalogue.
        categories: numbers; an item without a category is one of its own.
        times: microseconds.
        orders: the number of the order from 1 on; 0 where a line belongs to none.
        kinds: ORDERED, LOOKED or RATED.
        quantities, amounts: as ordered and paid; the quantity of a rating is the rating.
    """

    items: np.ndarray
    categories: np.ndarray
    times: np.ndarray
    orders: np.ndarray
    kinds: np.ndarray
    quantities: np.ndarray
    amounts: np.ndarray

    @classmethod
    def of(cls, customer: Customer, catalogue: Catalogue) -> "Record":
        """A customer's whole record; items that the catalogue lacks are left out."""
        index = catalogue.index
        ordered = [order for order in customer.orders if any(item in index for item in order.items)]
        lines: list[tuple[int, str | None, int, int, float, float]] = [
            (order.ts, item, number, ORDERED, quantity, amount)
            for number, order in enumerate(ordered, start=1)
            for item, quantity, amount in zip(order.items, order.quantities, order.amounts, strict=True)
        ]
        lines += [(each.ts, each.item, 0, LOOKED, 0.0, 0.0) for each in customer.browsing]
        lines += [(each.ts, each.item, 0, RATED, float(each.rating), 0.0) for each in customer.reviews]
        known = sorted((line for line in lines if line[1] in index), key=lambda line: line[0])
        times, names, orders, kinds, quantities, amounts = zip(*known, strict=True) if known else ((),) * 6
        items = np.array([index[name] for name in names], dtype=np.int32)
        columns = (items, catalogue.categories[items], times, orders, kinds, quantities, amounts)
        return cls(*(np.asarray(column, dtype) for column, dtype in zip(columns, COLUMNS.values(), strict=True)))

    @classmethod
    def none(cls) -> "Record":
        """Of a customer who did nothing."""
        return cls(*(np.zeros(0, dtype) for dtype in COLUMNS.values()))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def opens_order(self) -> np.ndarray:
        """(L,) whether a line is the first of its order."""
        return np.diff(np.maximum.accumulate(self.orders), prepend=0) > 0

    def lines(self, places: np.ndarray) -> "Record":
        """The lines at some places, or those that a mask leaves."""
        return Record(*(getattr(self, name)[places] for name in COLUMNS))
