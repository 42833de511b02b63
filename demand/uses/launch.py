"""New products: who will buy what does not exist yet, how much of it, and what they will buy less of.

A new product is taken to sell as the items that are like it (by name, category, department and price), to those who buy
these; a little as everything that is sold, for names tell little. What is new sells a small share of what is
established: what share is learned from items that were first sold while sales figures were taken, each against what was
like it then.

Shapes: R questions, V catalogue items, A items that are most alike.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from demand.catalogue import Catalogue
from demand.errors import RecordError
from demand.names import Words
from demand.uses.outlook import Outlook

MOST_ALIKE = 20
"""Items that are named."""
EVERYTHING = 0.02
"""What an item counts that is not alike; one of the same name, category and department counts 1 more."""
LAUNCHES, FEWEST_LAUNCHES = 200, 10
"""Of the items first sold the latest are learned from; of fewer nothing is."""
USUAL = (0.1, 0.9)
"""Between these quantiles of what launches sold against what was expected lies the range that is told."""


class Product(BaseModel):
    """Something that is not sold yet.

    Attributes:
        price: of one unit, in currency units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=256)
    category: str | None = Field(default=None, max_length=256)
    department: str | None = Field(default=None, max_length=256)
    price: float | None = Field(default=None, gt=0, le=1e9)


@dataclass(frozen=True)
class Alike:
    """What a product is like.

    Attributes:
        weights: (V,) of each item, that sum to 1; 0 of what is not sold.
        most: (A,) catalogue indices of those that have words in common with it, the most alike first.
    """

    weights: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, catalogue: Catalogue, product: Product) -> Self:
        """Of a catalogue's items.

        Raises:
            RecordError: nothing is sold.
        """
        sold = catalogue.orders > 0
        if not sold.any():
            raise RecordError("product", "has nothing beside it that is sold")
        likeness = Words.of(catalogue).likeness(product.model_dump())
        weights = _weights(likeness, sold, catalogue.prices / (product.price or np.nan))
        most = np.argsort(-weights, kind="stable")[:MOST_ALIKE]
        return cls(weights, most[likeness[most] * weights[most] > 0])


@dataclass(frozen=True)
class Share:
    """What launches sold of what was like them.

    Attributes:
        of_alike: orders with a new item for each order with what is like it.
        low, high: 80 % of launches sold between so many times what that lets expect; None where too few are known.
        launches: how many it is learned from.
    """

    of_alike: float
    low: float | None
    high: float | None
    launches: int


@dataclass(frozen=True)
class OfAlike:
    """What some customers are expected to buy of what a product is like, as if it were one item.

    Attributes:
        orders, units, amounts: (R,) of each customer.
        most: (A,) units of each of the most alike, of all customers.
    """

    orders: np.ndarray
    units: np.ndarray
    amounts: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, outlook: Outlook, alike: Alike) -> Self:
        """From what is expected of some customers."""
        units, amounts = outlook.worth()
        return cls(
            orders=outlook.purchases @ alike.weights,
            units=units @ alike.weights,
            amounts=amounts @ alike.weights,
            most=units[:, alike.most].sum(0),
        )


@dataclass(frozen=True)
class Launch:
    """What comes of a new product.

    Attributes:
        alike: what it is like.
        share: what such a product sells of that.
        purchases: (R,) orders with it that are expected of each customer.
        units, amount: expected of all customers, in units and in currency units.
        taken: (A,) units that the most alike lose to it, at most: as if nobody bought more for it.
    """

    alike: Alike
    share: Share
    purchases: np.ndarray
    units: float
    amount: float
    taken: np.ndarray

    @classmethod
    def of(cls, product: Product, alike: Alike, share: Share, bought: OfAlike) -> Self:
        """From what is bought of what is alike."""
        units = share.of_alike * float(bought.units.sum())
        amount = units * product.price if product.price else share.of_alike * float(bought.amounts.sum())
        taken = share.of_alike * alike.weights[alike.most] * bought.most
        return cls(alike, share, share.of_alike * bought.orders, units, amount, taken)

    @property
    def chances(self) -> np.ndarray:
        """(R,) that each customer buys it, of a Poisson process."""
        chances: np.ndarray = -np.expm1(-self.purchases)
        return chances

    @property
    def range(self) -> tuple[float, float] | None:
        """Units between which 80 % of launches ended; None where too few are known."""
        if self.share.low is None or self.share.high is None:
            return None
        return self.share.low * self.units, self.share.high * self.units


def launch(outlook: Outlook, product: Product, days: int) -> Launch:
    """What some customers will buy of a new product within a horizon; raises as `Alike.of`."""
    alike = Alike.of(outlook.catalogue, product)
    return Launch.of(product, alike, share_of_alike(outlook.catalogue, days), OfAlike.of(outlook, alike))


def share_of_alike(catalogue: Catalogue, days: int) -> Share:
    """What items sold in their first days of what items like them sold in as many days before.

    An item counts as launched where it was first sold after twice these days of figures, and as many are known after.
    Where there were too few launches, a new product is taken to sell as what is like it.
    """
    before = catalogue.sales.before[:, :, 0]
    first = np.where(before[-1] > 0, (before > 0).argmax(0) - 1, -1)
    launched = np.flatnonzero((first >= 2 * days) & (first + days < len(before)))
    launched = launched[np.argsort(-first[launched], kind="stable")][:LAUNCHES]
    if len(launched) < FEWEST_LAUNCHES:
        return Share(1.0, None, None, 0)
    likeness, prices = Words.of(catalogue).likeness_of(launched), catalogue.prices
    sold, expected = np.empty((2, len(launched)))
    for place, item in enumerate(launched):
        day = first[item]
        weights = _weights(likeness[:, place], before[day] > 0, prices / prices[item])
        sold[place] = before[day + days, item] - before[day, item]
        expected[place] = (before[day] - before[day - days]) @ weights
    share = float(sold.sum() / expected.sum())
    low, high = np.quantile(sold / np.maximum(share * expected, 1e-12), USUAL)
    return Share(share, float(low), float(high), len(launched))


def _weights(likeness: np.ndarray, sold: np.ndarray, price_ratios: np.ndarray) -> np.ndarray:
    """Of (V,) each, with sum 1. Twice or half the price counts half; a price that is not known says nothing."""
    apart = np.abs(np.log(np.where(price_ratios > 0, price_ratios, np.nan)))
    near = np.where(np.isfinite(apart), np.exp(-apart), 1.0)
    weights = np.where(sold, (likeness + EVERYTHING) * near, 0.0)
    scaled: np.ndarray = weights / weights.sum()
    return scaled
