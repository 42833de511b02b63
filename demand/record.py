"""A customer's record: everything done with items of the catalogue, as columns of numbers.

Where a prompt cuts a long history off, the record keeps all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
        return cls._read(customer, catalogue)[0]

    @classmethod
    def without_each(
        cls, customer: Customer, catalogue: Catalogue, events: Sequence[tuple[int, int]]
    ) -> "list[Record]":
        """For each of some events the record as if it had never been: much faster than `of` the customer without it.

        Args:
            events: of each its kind, and its place among the customer's orders, browsing or reviews.
        """
        record, place_L = cls._read(customer, catalogue)
        records = []
        for kind, place in events:
            gone_L = (record.kinds == kind) & (place_L == place)
            rest = record.lines(~gone_L)
            if kind == ORDERED and gone_L.any():
                rest = replace(rest, orders=rest.orders - (rest.orders > record.orders[gone_L][0]))
            records.append(rest)
        return records

    @classmethod
    def _read(cls, customer: Customer, catalogue: Catalogue) -> "tuple[Record, np.ndarray]":
        """The record, and of each line the place of its event among those of its kind, (L,)."""
        index = catalogue.index
        known_orders = (
            (place, order) for place, order in enumerate(customer.orders) if any(item in index for item in order.items)
        )
        lines: list[tuple[int, str | None, int, int, float, float, int]] = [
            (order.ts, item, number, ORDERED, quantity, amount, place)
            for number, (place, order) in enumerate(known_orders, start=1)
            for item, quantity, amount in zip(order.items, order.quantities, order.amounts, strict=True)
        ]
        lines += [(each.ts, each.item, 0, LOOKED, 0.0, 0.0, place) for place, each in enumerate(customer.browsing)]
        lines += [
            (each.ts, each.item, 0, RATED, float(each.rating), 0.0, place)
            for place, each in enumerate(customer.reviews)
        ]
        known = sorted((line for line in lines if line[1] in index), key=lambda line: line[0])
        times, names, orders, kinds, quantities, amounts, places = zip(*known, strict=True) if known else ((),) * 7
        items = np.array([index[name] for name in names], dtype=np.int32)
        columns = (items, catalogue.categories[items], times, orders, kinds, quantities, amounts)
        record = cls(*(np.asarray(column, dtype) for column, dtype in zip(columns, COLUMNS.values(), strict=True)))
        return record, np.asarray(places, np.int64)

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
