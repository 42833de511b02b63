"""Habits: how often, how lately and how regularly a customer turned to each item, as numbers that a model reads.

A sequence of tokens tells a small model too little about time: how much of an item's usual gap has passed, or what was
bought five hundred tokens ago. These numbers say it outright. (How much of the next order frequency and recency
explain: Hu et al., SIGIR 2020, arXiv:2006.00556; Faggioli et al., UMAP 2020.)

Shapes: L lines, Q questions, G groups of lines, P pairs of a question and an item met before it, F features of an item,
C of a customer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from demand.moments import DAY
from demand.record import LOOKED, ORDERED, RATED, Record

HALF_LIVES = (90, 30, 10, 10 / 3)
"""Days in which counts fade by half: each a third of the one before, so that its weights are third powers."""
ORDERS = (18, 6, 2)
"""The same in orders."""
LONG_AGO = 1_000.0
"""Days since what never happened."""
SMALLEST = 0.01
"""Added to a count that fades before its logarithm is taken."""
OF_ITEMS = (
    "orders with it",
    *(f"orders with it, fading by half in {days:.3g} days" for days in HALF_LIVES),
    *(f"orders with it, fading by half in {orders} orders" for orders in ORDERS),
    "share of orders with it",
    "days since last",
    "days since second last",
    "days since third last",
    "days since first",
    "orders since last",
    "orders since second last",
    "mean gap",
    "deviation of gaps, in mean gaps",
    "days since last, in mean gaps",
    "share on this weekday",
    "last quantity",
    "mean quantity",
    "share of spending",
    "category: lines, fading by half in 30 days",
    "category: lines, fading by half in 3.33 days",
    "category: days since last",
    "category: the item's share",
    "looks, fading by half in 30 days",
    "looks, fading by half in 3.33 days",
    "last rating",
)
OF_CUSTOMERS = (
    "orders",
    "orders, fading by half in 30 days",
    "days since last order",
    "mean gap of orders",
    "lines of an order",
    "different items",
    "days asked about",
    "whether the next order is asked about",
    "items expected by habit",
)
LATELY = OF_CUSTOMERS.index("orders, fading by half in 30 days")
LATELY_TO_DAILY = np.log(np.log(2) / 30)
"""Added to twice that feature, gives the logarithm of orders a day: what fades adds up to a rate times 30 / log 2."""
EXPECTED = OF_CUSTOMERS.index("items expected by habit")
"""A logarithm: as many as in an order of late, times as many orders of late in so many days."""
OF_WAITS = ("days since first order", "spending")
"""What tells of the wait for the next order besides; items are ranked no better by it."""


class Habits(NamedTuple):
    """A customer at each question, and every item that the customer met before it. Features are of about one size.

    Attributes:
        customer_QC: float32, see OF_CUSTOMERS.
        wait_QE: float32, see OF_WAITS.
        query_P, item_P: the question, and the item's index in the catalogue.
        count_P: orders with the item before the question.
        item_PF: float32, see OF_ITEMS.
    """

    customer_QC: np.ndarray
    wait_QE: np.ndarray
    query_P: np.ndarray
    item_P: np.ndarray
    count_P: np.ndarray
    item_PF: np.ndarray


def habits(record: Record, moments: np.ndarray, horizons: np.ndarray) -> Habits:
    """What a customer's record says before each question.

    Args:
        moments: (Q,) int64 microseconds; lines of that moment or later are not seen.
        horizons: (Q,) days that are asked about, 0 for the next order.
    """
    items, first, item_L = np.unique(record.items, return_index=True, return_inverse=True)
    categories, category_L = np.unique(record.categories, return_inverse=True)
    ordered, looked, rated = (
        _Seen.of(record, record.kinds == kind, item_L, len(items), moments) for kind in (ORDERED, LOOKED, RATED)
    )
    related = _Seen.of(record, record.kinds == ORDERED, category_L, len(categories), moments)
    orders = _Seen.of(record, record.opens_order, np.zeros(len(record), dtype=np.int64), 1, moments)
    of_items = [
        *_frequency(ordered, orders),
        *_recency(ordered, orders),
        *_spending(ordered),
        *_category(ordered, related, category_L[first]),
        *_interest(looked, rated),
    ]
    of_customer = [*_custom(ordered, orders), *_question(ordered, orders, horizons)]
    query_P, place_P = np.nonzero(ordered.count + looked.count + rated.count)
    return Habits(
        np.stack(of_customer, axis=1).astype(np.float32),
        np.stack([*_waiting(ordered, orders)], axis=1).astype(np.float32),
        query_P,
        items[place_P],
        ordered.count[query_P, place_P],
        np.stack([each[query_P, place_P] for each in of_items], axis=1).astype(np.float32),
    )


@dataclass(frozen=True)
class _Seen:
    """Lines by group and then by time, as seen from Q moments: of each group its first `count`.

    Attributes:
        starts: (G + 1,) where each group's lines begin.
        age: (Q, L) days from line to moment.
        seen: (Q, L) whether the line is before it.
        count: (Q, G) lines seen.
    """

    record: Record
    starts: np.ndarray
    moments: np.ndarray
    age: np.ndarray
    seen: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, record: Record, chosen: np.ndarray, group: np.ndarray, groups: int, moments: np.ndarray) -> "_Seen":
        """The chosen lines, (L,), each in its group, (L,)."""
        places = np.flatnonzero(chosen)
        places = places[np.argsort(group[places], kind="stable")]
        lines = record.lines(places)
        starts = np.searchsorted(group[places], np.arange(groups + 1))
        age = (moments[:, None] - lines.times) / DAY
        seen = age > 0
        return cls(lines, starts, moments, age, seen, _sums(seen, starts).astype(np.int64))

    def total(self, values: np.ndarray) -> np.ndarray:
        """(Q, G) sums of a value of each line, (L,) or (Q, L), over the lines seen."""
        return _sums(self.seen * values, self.starts)

    def fading(self, days: float) -> np.ndarray:
        """(Q, G) lines, each counted less the older it is: half after so many days, one of HALF_LIVES."""
        return self.total(self._weights[HALF_LIVES.index(days)])

    def last(self, values: np.ndarray, nth: int = 1, nothing: float = 0) -> np.ndarray:
        """(Q, G) a value, (L,), of the nth last line seen; `nothing` where there are not so many."""
        if not len(values):
            return np.full(self.count.shape, nothing)
        places = (self.starts[:-1] + self.count - nth).clip(0, len(values) - 1)
        chosen: np.ndarray = np.where(self.count >= nth, values[places], nothing)
        return chosen

    def days_since(self, nth: int = 1) -> np.ndarray:
        """(Q, G) days since the nth last line seen; LONG_AGO where there are not so many."""
        days = (self.moments[:, None] - self.last(self.record.times, nth)) / DAY
        return np.where(self.count >= nth, days, LONG_AGO)

    def mean_gap(self) -> np.ndarray:
        """(Q, G) mean days from line to line; 0 below two."""
        gap: np.ndarray = self.total(self._gaps) / np.maximum(self.count - 1, 1)
        return gap

    def gap_deviation(self) -> np.ndarray:
        """(Q, G) standard deviation of the days from line to line; 0 below three."""
        square = self.total(self._gaps**2) / np.maximum(self.count - 1, 1)
        deviation: np.ndarray = np.sqrt(np.maximum(square - self.mean_gap() ** 2, 0))
        return deviation

    @cached_property
    def _weights(self) -> list[np.ndarray]:
        """(Q, L) of each half-life."""
        weights = [np.exp2(-np.maximum(self.age, 0) / HALF_LIVES[0])]
        for _ in HALF_LIVES[1:]:
            weights.append(weights[-1] ** 3)
        return weights

    @cached_property
    def _gaps(self) -> np.ndarray:
        """(L,) days since the group's line before; 0 for its first."""
        gaps = np.diff(self.record.times, prepend=self.record.times[:1]) / DAY
        gaps[self.starts[:-1][np.diff(self.starts) > 0]] = 0
        return gaps


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(Q, L) -> (Q, G) sums over each group's lines."""
    running = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=running[:, 1:])
    return np.maximum(np.diff(running[:, starts], axis=1), 0)  # a difference of sums may miss zero by a rounding error


def _frequency(ordered: _Seen, orders: _Seen) -> Iterator[np.ndarray]:
    yield np.log1p(ordered.count)
    yield from (_faded(ordered.fading(days)) for days in HALF_LIVES)
    since = np.maximum(orders.count - ordered.record.orders, 0)
    weight = np.exp2(-since / ORDERS[0])
    for _ in ORDERS:
        yield _faded(ordered.total(weight))
        weight = weight**3
    yield _faded(ordered.count / np.maximum(orders.count, 1))


def _recency(ordered: _Seen, orders: _Seen) -> Iterator[np.ndarray]:
    since, gap = ordered.days_since(), ordered.mean_gap()
    yield from (_days(ordered.days_since(nth)) for nth in (1, 2, 3))
    yield _days(_since_first(ordered.count, since, gap))
    yield from (np.log1p(orders.count - ordered.last(ordered.record.orders, nth)) for nth in (1, 2))
    yield _days(gap)
    yield ordered.gap_deviation() / np.maximum(gap, 1)
    yield np.where(ordered.count > 1, np.log((since + 1) / (gap + 1)), 0)
    weekday = _weekday(ordered.record.times) == _weekday(ordered.moments)[:, None]
    yield (ordered.total(weekday) + 1 / 7) / (ordered.count + 1)


def _spending(ordered: _Seen) -> Iterator[np.ndarray]:
    quantities, amounts = ordered.record.quantities, ordered.total(ordered.record.amounts.clip(min=0))
    yield np.log1p(ordered.last(quantities.clip(min=0)))
    yield np.log1p(ordered.total(quantities.clip(min=0)) / np.maximum(ordered.count, 1))
    yield _faded(amounts / np.maximum(amounts.sum(1, keepdims=True), 1))


def _category(ordered: _Seen, related: _Seen, category: np.ndarray) -> Iterator[np.ndarray]:
    """Of each item's category, which is its place among the groups of `related`."""
    yield from (_faded(related.fading(days))[:, category] for days in HALF_LIVES[1::2])
    yield _days(related.days_since())[:, category]
    yield ordered.count / np.maximum(related.count[:, category], 1)


def _interest(looked: _Seen, rated: _Seen) -> Iterator[np.ndarray]:
    yield from (_faded(looked.fading(days)) for days in HALF_LIVES[1::2])
    yield (rated.last(rated.record.quantities, nothing=3) - 3) / 2


def _custom(ordered: _Seen, orders: _Seen) -> Iterator[np.ndarray]:
    """Of the customer alone, (Q,) each."""
    count = orders.count[:, 0]
    yield np.log1p(count) / 2
    yield _faded(orders.fading(HALF_LIVES[1])[:, 0])
    yield _days(orders.days_since()[:, 0])
    yield _days(orders.mean_gap()[:, 0])
    yield np.log1p(ordered.count.sum(1) / np.maximum(count, 1)) / 2
    yield np.log1p((ordered.count > 0).sum(1)) / 3


def _question(ordered: _Seen, orders: _Seen, horizons: np.ndarray) -> Iterator[np.ndarray]:
    """Of what is asked, (Q,) each."""
    yield np.log1p(horizons) / 3
    yield (horizons == 0).astype(np.float64)
    fading = orders.fading(HALF_LIVES[1])[:, 0]
    lines = np.log((ordered.fading(HALF_LIVES[1]).sum(1) + 1) / (fading + 1))
    daily = np.log(fading + SMALLEST) + LATELY_TO_DAILY
    yield lines + np.where(horizons > 0, daily + np.log(np.maximum(horizons, 1)), 0)


def _waiting(ordered: _Seen, orders: _Seen) -> Iterator[np.ndarray]:
    """Of the customer alone, (Q,) each."""
    yield _days(_since_first(orders.count, orders.days_since(), orders.mean_gap())[:, 0])
    yield np.log1p(ordered.total(ordered.record.amounts.clip(min=0)).sum(1)) / 4


def _since_first(count: np.ndarray, since: np.ndarray, gap: np.ndarray) -> np.ndarray:
    return np.where(count > 0, since + gap * (count - 1), LONG_AGO)


def _faded(count: np.ndarray) -> np.ndarray:
    logarithm: np.ndarray = np.log(count + SMALLEST) / 2
    return logarithm


def _days(days: np.ndarray) -> np.ndarray:
    logarithm: np.ndarray = np.log1p(days) / 2
    return logarithm


def _weekday(times: np.ndarray) -> np.ndarray:
    weekday: np.ndarray = times // DAY % 7
    return weekday
