"""Sales: what all customers together bought day by day, as numbers that a model reads of each item.

Whatever a customer's own record cannot tell: what sells more of late than it used to, and what people come back for.

Shapes: D days, V items, N days asked about, K features (see OF_SALES).
"""

from dataclasses import dataclass

import numpy as np

WINDOWS = (3, 7, 28)
"""Days."""
MOST_DAYS = 3_653
"""Ten years, of which days are told apart: one wrong date shall not take all memory."""
FEW = 2.0
"""Orders added to both sides of a comparison, so that it says little of what sells seldom."""
OF_SALES = (
    "share of everything sold",
    *(f"sold in the last {days} days, against its average" for days in WINDOWS),
    "orders with it of a buyer",
    "share of buyers who bought it again",
)


@dataclass(frozen=True)
class Sales:
    """Orders with each item by day; a day's sales are known from the next day on.

    Attributes:
        first: the first day, counted from 1970-01-01 on.
        before: (D + 1, V, 3) int32, before each day: orders with the item, customers who had bought it, and customers
            who had bought it again.
    """

    first: int
    before: np.ndarray

    @classmethod
    def none(cls, items: int) -> "Sales":
        """Nothing is known of so many items."""
        return cls(0, np.zeros((1, items, 3), dtype=np.int32))

    @classmethod
    def of(cls, days: np.ndarray, items: np.ndarray, counts: np.ndarray, size: int) -> "Sales":
        """From what was sold when.

        Args:
            days, items: (L,) of each line; several may be of one day and item. What sold more than MOST_DAYS before the
                last day counts as sold before the first.
            counts: (L, 3), what a line adds to each of `before`.
            size: V.
        """
        if not len(days):
            return cls.none(size)
        last = int(days.max())
        first = max(int(days.min()), last - MOST_DAYS)
        before = np.zeros((last - first + 2, size, 3), dtype=np.int32)
        np.add.at(before, (np.maximum(days - first + 1, 0), items), counts)
        return cls(first, np.cumsum(before, axis=0, dtype=np.int32))

    @property
    def last(self) -> int:
        """The day that all sales lie before."""
        return self.first + len(self.before) - 1

    def features(self, days: np.ndarray) -> np.ndarray:
        """(N, V, K) float32, at the start of each day; of later days than are known, as at the end of what is known.

        Args:
            days: (N,) counted from 1970-01-01 on.
        """
        places = np.clip(days - self.first, 0, len(self.before) - 1)
        orders, buyers, again = np.moveaxis(self.before[places].astype(np.float32), -1, 0)
        share = (orders + 1) / (orders.sum(1, keepdims=True) + orders.shape[1])
        features = [np.log(share)]
        for window in WINDOWS:
            sold = orders - self.before[np.maximum(places - window, 0), :, 0].astype(np.float32)
            features.append(np.log((sold + FEW) / (share * sold.sum(1, keepdims=True) + FEW)))
        features += [np.log((orders + FEW) / (buyers + 1)), (again + 0.3) / (buyers + 1)]
        return np.stack(features, axis=-1)

    def fading(self, day: int, half_life: float) -> np.ndarray:
        """(V,) orders before a day, each counted less the older it is."""
        place = int(np.clip(day - self.first, 0, len(self.before) - 1))
        sold = np.diff(self.before[: place + 1, :, 0], axis=0)
        ages = day - self.first - np.arange(place)
        faded: np.ndarray = np.exp2(-ages / half_life) @ sold
        return faded


def visits(customers: np.ndarray, items: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(L, 3) counts for `Sales.of`: of orders with an item one each, of a customer's first and second with it one more.

    Args:
        customers, items, times: (L,) numbers; each order holds an item once.
    """
    sequence = np.lexsort((times, items, customers))
    whose, which = customers[sequence], items[sequence]
    new = np.ones(len(whose) + 1, dtype=bool)
    new[1:-1] = (whose[1:] != whose[:-1]) | (which[1:] != which[:-1])
    first = new[:-1]
    second = np.zeros(len(whose), dtype=bool)
    second[1:] = first[:-1] & ~first[1:]
    counts = np.empty((len(whose), 3), dtype=np.int32)
    counts[sequence] = np.stack([np.ones(len(whose), dtype=bool), first, second], axis=1)
    return counts
