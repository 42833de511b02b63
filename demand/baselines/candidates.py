"""What gradient boosting reads: the items that come into question for a customer at a moment, as rows of numbers.

They are the items that the customer met before, with the features of `demand.habits`, and what sells best of the rest.

Shapes: V items of the catalogue, P pairs of a question and a candidate, F features (see FEATURES).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from demand.habits import EXPECTED, OF_CUSTOMERS, OF_ITEMS, habits
from demand.moments import DAY
from demand.prompts import NEXT_ORDER
from demand.questions import MINIMUM_ORDERS
from demand.record import ORDERED, Record
from demand.sales import OF_SALES, Sales, visits

POPULAR = 100
"""Candidates that the customer never met."""
LINES = ("orders", "items", "times")
LATELY = 28
"""Days."""
SMALLEST = 0.01
"""Added to sales, so that every item has some."""
FEATURES = (*OF_ITEMS, *OF_CUSTOMERS, *OF_SALES)


@dataclass(frozen=True)
class Shelf:
    """All items, as they sold before a moment.

    Attributes:
        features: (V, len(OF_SALES)) float32.
        shares: (V,) of everything sold, orders fading by half in LATELY days; they add up to 1.
        best: (V,) indices of items, best sold first.
    """

    features: np.ndarray
    shares: np.ndarray
    best: np.ndarray

    @classmethod
    def at(cls, moment: int, sales: Sales) -> "Shelf":
        """At the start of a moment's day."""
        day = moment // DAY
        weights = sales.fading(day, LATELY) + SMALLEST
        best = np.argsort(-weights, kind="stable")
        return cls(sales.features(np.array([day]))[0], weights / weights.sum(), best)

    def best_but(self, met: np.ndarray) -> np.ndarray:
        """The POPULAR best sold items that are not among those met."""
        best = self.best[: POPULAR + len(met)]
        return best[~np.isin(best, met)][:POPULAR]


def sales_of(records: Sequence[Record], size: int) -> Sales:
    """Of all customers together, in a catalogue of so many items."""
    ordered = [each.lines(each.kinds == ORDERED) for each in records] or [Record.none()]
    rows = np.repeat(np.arange(len(ordered)), [len(each) for each in ordered])
    lines = np.stack([rows, *(np.concatenate([getattr(each, name) for each in ordered]) for name in LINES)], axis=1)
    rows, _, items, times = np.unique(lines, axis=0).T  # an order that holds an item counts once
    return Sales.of(times // DAY, items, visits(rows, items, times), size)


@dataclass(frozen=True)
class Candidates:
    """One question's candidates, P of them.

    Attributes:
        items: (P,) indices in the catalogue, each once; those met first.
        features: (P, F) float32; those of an item never met are not a number.
        expected: items that the customer's habits let expect.
    """

    items: np.ndarray
    features: np.ndarray
    expected: float


def candidates(record: Record, moments: np.ndarray, days: int, shelves: Sequence[Shelf]) -> Iterator[Candidates]:
    """Of each moment, with what sold before it.

    Args:
        moments: (Q,) microseconds; nothing from a moment on is seen.
        days: asked about, NEXT_ORDER for the next order.
    """
    found = habits(record, moments, np.full(len(moments), days))  # of all moments at once: it is far quicker so
    ends = np.searchsorted(found.query_P, np.arange(len(moments) + 1))
    split = len(OF_ITEMS), len(OF_ITEMS) + len(OF_CUSTOMERS)
    for query, shelf in enumerate(shelves):
        mine = slice(ends[query], ends[query + 1])
        met = found.item_P[mine]
        items = np.concatenate([met, shelf.best_but(met)])
        features = np.full((len(items), len(FEATURES)), np.nan, dtype=np.float32)
        features[: len(met), : split[0]] = found.item_PF[mine]
        features[:, split[0] : split[1]] = found.customer_QC[query]
        features[:, split[1] :] = shelf.features[items]
        yield Candidates(items, features, float(np.exp(found.customer_QC[query, EXPECTED])))


def bought(record: Record, moment: int, days: int, window: int) -> np.ndarray | None:
    """What the customer bought then, catalogue indices, each once; None where `demand.questions.ask` would not ask.

    A horizon is asked of everyone with a history. That `ask` is not used: it would read all customers once a moment.

    Args:
        days: asked about, NEXT_ORDER for the next order, which lies within `window` days.
    """
    ordered = record.kinds == ORDERED
    past = ordered & (record.times < moment)
    then = ordered & ~past & (record.times < moment + window * DAY)
    if days == NEXT_ORDER:
        if record.orders[past].max(initial=0) < MINIMUM_ORDERS or not then.any():
            return None
        then &= record.orders == record.orders[then.argmax()]
    elif not past.any():
        return None
    return np.unique(record.items[then])
