"""Supply: what all customers together will buy, item by item and in groups that add up, with how far it may be off.

Of each customer purchases are taken as a Poisson process, so totals differ from what is expected by chance. They differ
by more, because what moves all customers alike (weather, a campaign) is in no history: how much more is learned from an
earlier period whose sales are known, and that share of the total is added to what chance does. Of a large total it is a
smaller share: what moves one group up moves another down. And much of what an item sold beyond what was expected stays
for weeks (a season, a price, new customers): that is learned from earlier periods, too.

Shapes: W weeks, S stores, V catalogue items, G groups, R customers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from demand.catalogue import Catalogue
from demand.moments import DAY, WEEK
from demand.uses.outlook import Outlook

LEVELS = (0.5, 0.8, 0.95)
GROUPINGS = ("item", "category", "department", "all")
HUNDRED = 100.0
FEWEST = 5
"""Groups from which the power can be told."""
SMALLEST, LARGEST = 1e-3, 10.0
"""Shares of HUNDRED units."""
STAYS, STORES_STAY, FADES, FEW = 0.7, 0.5, 0.5, 10.0
"""By trial (docs/quality.md): how much of the logarithm of what an item, or a store, sold over what was expected is
there in the next period too, what a period counts beside the one after it, and units added to both sides of that."""
NO_GROUP = ""
"""The group of items without a category, or a department."""


@dataclass(frozen=True)
class Expected:
    """Sums over customers, (..., V) each, or (..., G) of groups.

    Attributes:
        units, amount: expected, in units and in currency units.
        units_variance: by chance alone.
    """

    units: np.ndarray
    units_variance: np.ndarray
    amount: np.ndarray

    @classmethod
    def each(cls, outlook: Outlook) -> "Expected":
        """Of each customer, (R, V): each purchase of an item holds what the customer's usually hold."""
        quantities, amounts = outlook.worth()
        one = np.divide(quantities, outlook.purchases, out=np.zeros_like(quantities), where=outlook.purchases > 0)
        return cls(quantities, quantities * one, amounts)

    @classmethod
    def of(cls, outlook: Outlook) -> "Expected":
        """Of some customers together."""
        return cls(*cls.each(outlook).parts.sum(1, dtype=np.float64))

    @property
    def parts(self) -> np.ndarray:
        """(3, ..., V): the fields, as `Expected(*parts)` takes them."""
        return np.stack([self.units, self.units_variance, self.amount])

    def grouped(self, groups: np.ndarray, count: int) -> "Expected":
        """Sums over groups. `groups`: (V,) the number of each item's group, below `count`."""
        return Expected(*in_groups(self.parts, groups, count))


@dataclass(frozen=True)
class Split:
    """What sums are split into, and add up over.

    Attributes:
        by: one of GROUPINGS.
        stores, weeks: whether by them, too.
    """

    by: str = "item"
    stores: bool = False
    weeks: bool = False

    def ends(self, days: int) -> list[int]:
        """(W,) days within which each week ends, the last one with the last of `days`."""
        week = WEEK // DAY
        return [*range(week, days, week), days] if self.weeks else [days]


def groups_of(catalogue: Catalogue, by: str) -> tuple[np.ndarray, list[str]]:
    """Each item's group, (V,), and the groups' names, by one of GROUPINGS."""
    if by == "item":
        return np.arange(len(catalogue)), catalogue.item_ids
    if by == "all":
        return np.zeros(len(catalogue), dtype=np.int64), ["all"]
    names = [name or NO_GROUP for name in catalogue.table[by].to_pylist()]
    known = sorted(set(names))
    place = {name: number for number, name in enumerate(known)}
    return np.array([place[name] for name in names]), known


def in_groups(values: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """(..., V) summed over groups, (..., G), as `Expected.grouped`."""
    sums = np.zeros((count, *values.shape[:-1]))
    np.add.at(sums, groups, np.moveaxis(values, -1, 0))
    return np.moveaxis(sums, 0, -1)


def by_week(until: Sequence[Expected]) -> Expected:
    """(W, ..., V): within a week is what is expected until its end, less what is until the end of the week before.

    Args:
        until: the end of each week, (..., V) each; all of them together are the last.
    """
    rising = np.minimum(np.maximum.accumulate([each.parts for each in until]), until[-1].parts)
    return Expected(*np.moveaxis(np.diff(rising, axis=0, prepend=0), 1, 0))


@dataclass(frozen=True)
class Past:
    """A period that is over.

    Attributes:
        expected: of it, asked as of its beginning, (..., V); the model may have learned from it.
        sold: units that were really sold in it, (..., V).
    """

    expected: Expected
    sold: np.ndarray

    def units(self, axis: int) -> np.ndarray:
        """(2, N) expected and sold, summed over all axes but one of N."""
        both = np.moveaxis(np.stack([self.expected.units, self.sold]), axis, -1)
        sums: np.ndarray = both.reshape(2, -1, both.shape[-1]).sum(1)
        return sums


def _of_late(past: Sequence[Past], axis: int) -> tuple[float, np.ndarray]:
    """What was sold over what was expected, of all together and, against that, along one axis, (N,); where nothing was
    sold, 1."""
    expected, sold = np.sum([FADES**ago * each.units(axis) for ago, each in enumerate(reversed(past))], axis=0)
    everything = sold.sum() / expected.sum() if sold.any() and expected.any() else 0.0
    if not everything:
        return 1.0, np.ones(len(sold))
    return everything, (sold + FEW) / (everything * expected + FEW)


def moved(expected: Expected, past: Sequence[Past]) -> Expected:
    """With more in stores that sold more of late, against all, than was expected, and with each item's sum over stores
    as it was. All of (..., S, V)."""
    if not past:
        return expected
    shares = _of_late(past, axis=-2)[1][:, None] ** STORES_STAY
    sums = (expected.units * shares).sum(-2, keepdims=True)
    kept = np.divide(expected.units.sum(-2, keepdims=True), sums, out=np.ones_like(sums), where=sums > 0)
    return Expected(*(expected.parts * shares * kept))


@dataclass(frozen=True)
class Level:
    """What items are expected to sell is off by a factor, as it was of late: the sum of all items by the same one, each
    item against that by STAYS of it, as logarithms.

    Attributes:
        factors: (V,).
    """

    factors: np.ndarray

    @classmethod
    def of(cls, past: Sequence[Past], items: int) -> Self:
        """From periods one after the other; without any, or where nothing was sold in them, 1.

        Args:
            past: the latest last.
            items: V.
        """
        if not past:
            return cls(np.ones(items))
        everything, against_it = _of_late(past, axis=-1)
        return cls(everything * against_it**STAYS)

    @classmethod
    def said(cls, factors: Mapping[str, float], catalogue: Catalogue) -> Self:
        """By item id, as somebody says them; of other items 1."""
        return cls(np.array([factors.get(item, 1.0) for item in catalogue.item_ids]))

    def on(self, expected: Expected) -> Expected:
        """What is expected, (..., V), with it."""
        return Expected(*(expected.parts * self.factors))


@dataclass(frozen=True)
class Spread:
    """How far totals differ beyond chance, as a share of them: the less, the larger they are.

    Attributes:
        share: of a total of HUNDRED units.
        falls: power of the total by which it falls.
    """

    share: float
    falls: float = 0.0

    def of(self, units: np.ndarray) -> np.ndarray:
        """Of totals, (G,); a total below one unit differs like one."""
        shares: np.ndarray = self.share * (np.maximum(units, 1.0) / HUNDRED) ** -self.falls
        return shares

    @classmethod
    def fit(cls, expected: Expected, sold: np.ndarray) -> Self:
        """From a period that is over: of the largest likelihood, normal errors taken for granted.

        Of fewer than FEWEST groups only one share can be told, by the method of moments.

        Args:
            expected, sold: of any shape; the units that were really sold.
        """
        from scipy.optimize import minimize  # takes a while to load

        known = expected.units > 1
        units, chance = expected.units[known], expected.units_variance[known]
        off = (sold[known] - units) ** 2
        if known.sum() < FEWEST:
            return cls(float(np.sqrt(max((off - chance).sum(), 0.0) / max((units**2).sum(), 1e-12))))

        def loss(weights: np.ndarray) -> float:
            variance = chance + (cls(np.exp(weights[0]), weights[1]).of(units) * units) ** 2
            return float((np.log(variance) + off / variance).sum())

        start, bounds = np.array([np.log(0.2), 0.3]), [(np.log(SMALLEST), np.log(LARGEST)), (0.0, 1.0)]
        found = minimize(loss, start, bounds=bounds, method="Nelder-Mead").x
        return cls(float(np.exp(found[0])), float(found[1]))


def interval(expected: Expected, spread: Spread, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Between which numbers of units the totals lie with a chance of `level`, (G,) each.

    By gamma distributions, which are never below nothing, with the totals' means and variances.
    """
    from scipy.stats import gamma  # takes a while to load

    mean = np.maximum(expected.units, 1e-12)
    variance = np.maximum(expected.units_variance, 1e-12) + (spread.of(mean) * mean) ** 2
    tail = (1 - level) / 2
    shape, scale = mean**2 / variance, variance / mean
    return gamma.ppf(tail, shape, scale=scale), gamma.ppf(1 - tail, shape, scale=scale)


@dataclass(frozen=True)
class Supply:
    """What all customers together will buy.

    Attributes:
        expected: with the level of late, (..., G).
    """

    expected: Expected
    spread: Spread
    level: Level

    @classmethod
    def of(cls, now: Expected, past: Sequence[Past], groups: np.ndarray, count: int) -> "Supply":
        """Grouped as `Expected.grouped` does it.

        The spread is that of the last period, whose level was taken from those before it: of a level that knew the
        period itself intervals would be too narrow.

        Args:
            now: what is expected, (..., S, V), where stores do not matter of one.
            past: periods that are over, with the same stores, the latest last, which is split as `now` is.
        """
        *earlier, last = past
        items = now.units.shape[-1]
        told = Level.of(earlier, items).on(moved(last.expected, earlier)).grouped(groups, count)
        spread = Spread.fit(told, in_groups(last.sold, groups, count))
        level = Level.of(past, items)
        return cls(level.on(moved(now, past)).grouped(groups, count), spread, level)
