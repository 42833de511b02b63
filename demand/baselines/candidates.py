"""What gradient boosting reads: the items that come into question for a customer at a moment, as rows of numbers.

They are the items that the customer met before, with the features of `demand.habits`, and what sells best of the rest.

Shapes: V items of the catalogue, P pairs of a question and a candidate, F features (see FEATURES).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from demand.habits import EXPECTED, OF_CUSTOMERS, OF_ITEMS, habits
from demand.moments import DAY
from demand.prompts import NEXT_ORDER
from demand.questions import MINIMUM_ORDERS
from demand.record import ORDERED, Record

POPULAR = 100
"""Candidates that the customer never met."""
LATELY = 28
"""Days."""
SMALLEST = 0.01
"""Added to sales, so that every item has some."""
OF_SALES = (
    "share of everything sold",
    "share of everything sold in the last 28 days",
    "the last 28 days against its average",
    "orders with it of a buyer",
    "share of buyers who bought it again",
)
FEATURES = (*OF_ITEMS, *OF_CUSTOMERS, *OF_SALES)


@dataclass(frozen=True)
class Sales:
    """How items sold before a moment, over all customers.

    Attributes:
        features: (V, len(OF_SALES)) float32.
        shares: (V,) of everything sold, orders fading by half in LATELY days; they add up to 1.
        best: (V,) indices of items, best sold first.
    """

    features: np.ndarray
    shares: np.ndarray
    best: np.ndarray

    @classmethod
    def before(cls, moments: Sequence[int], records: Sequence[Record], size: int) -> "list[Sales]":
        """At each of some moments, of a catalogue of so many items."""
        ordered = [each.lines(each.kinds == ORDERED) for each in records] or [Record.none()]
        rows = np.repeat(np.arange(len(ordered)), [len(each) for each in ordered])
        items = np.concatenate([each.items for each in ordered])
        times = np.concatenate([each.times for each in ordered])
        shape = (len(ordered), size)
        return [
            cls._of(rows[past], items[past], moment - times[past], shape)
            for moment in moments
            for past in [times < moment]
        ]

    @classmethod
    def _of(cls, rows: np.ndarray, items: np.ndarray, ages: np.ndarray, shape: tuple[int, int]) -> "Sales":
        """Of lines, each of a customer's row and so many microseconds old."""
        size, days = shape[1], ages / DAY
        counts = sparse.coo_matrix((np.ones(len(rows)), (rows, items)), shape).tocsr()  # adds up what is there twice
        orders = np.bincount(items, minlength=size)
        buyers = np.maximum(np.bincount(counts.indices, minlength=size), 1)
        returned = np.bincount(counts.indices[counts.data > 1], minlength=size)
        lately = np.bincount(items[days <= LATELY], minlength=size)
        usually = orders * LATELY / max(days.max(initial=0), LATELY)
        features = [
            _log_share(orders),  # not the count, which grows with time: a moment would look like none before it
            _log_share(lately),
            np.log((lately + 1) / (usually + 1)),
            orders / buyers,
            returned / buyers,
        ]
        weights = np.bincount(items, np.exp2(-days / LATELY), size) + SMALLEST
        best = np.argsort(-weights, kind="stable")
        return cls(np.stack(features, axis=1).astype(np.float32), weights / weights.sum(), best)

    def best_but(self, met: np.ndarray) -> np.ndarray:
        """The POPULAR best sold items that are not among those met."""
        best = self.best[: POPULAR + len(met)]
        return best[~np.isin(best, met)][:POPULAR]


def _log_share(counts: np.ndarray) -> np.ndarray:
    logarithm: np.ndarray = np.log((counts + 1) / (counts.sum() + len(counts)))
    return logarithm


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


def candidates(record: Record, moments: np.ndarray, days: int, sales: Sequence[Sales]) -> Iterator[Candidates]:
    """Of each moment, with what sold before it.

    Args:
        moments: (Q,) microseconds; nothing from a moment on is seen.
        days: asked about, NEXT_ORDER for the next order.
    """
    found = habits(record, moments, np.full(len(moments), days))  # of all moments at once: it is far quicker so
    ends = np.searchsorted(found.query_P, np.arange(len(moments) + 1))
    split = len(OF_ITEMS), len(OF_ITEMS) + len(OF_CUSTOMERS)
    for query, sold in enumerate(sales):
        mine = slice(ends[query], ends[query + 1])
        met = found.item_P[mine]
        items = np.concatenate([met, sold.best_but(met)])
        features = np.full((len(items), len(FEATURES)), np.nan, dtype=np.float32)
        features[: len(met), : split[0]] = found.item_PF[mine]
        features[:, split[0] : split[1]] = found.customer_QC[query]
        features[:, split[1] :] = sold.features[items]
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
