"""The evaluation protocol: which customers are asked about, with what history, and what they then really bought."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer, Order
from demand.moments import DAY

MINIMUM_ORDERS = 3
NEXT, HORIZON = PARTS = ("next_order", "horizon")
"""The two questions of every evaluation: what the next order holds, and what all orders in the horizon hold."""


@dataclass(frozen=True)
class Basket:
    """What a customer bought: equal-length arrays, each item once, in the order of their indices.

    Attributes:
        items: catalogue indices.
        quantities: units bought.
        amounts: paid, in currency units.
    """

    items: np.ndarray
    quantities: np.ndarray
    amounts: np.ndarray

    @classmethod
    def of(cls, orders: Sequence[Order], catalogue: Catalogue) -> "Basket":
        """Orders added up; items that the catalogue lacks are left out."""
        lines = [
            (catalogue.index[item], quantity, amount)
            for order in orders
            for item, quantity, amount in zip(order.items, order.quantities, order.amounts, strict=True)
            if item in catalogue.index
        ]
        items, places = np.unique(np.array([line[0] for line in lines], dtype=np.int64), return_inverse=True)
        sums = [np.bincount(places, [line[column] for line in lines], len(items)) for column in (1, 2)]
        return cls(items, sums[0], sums[1])

    def only(self, kept: np.ndarray) -> "Basket":
        """The lines where a boolean array says so."""
        return Basket(self.items[kept], self.quantities[kept], self.amounts[kept])


@dataclass(frozen=True)
class Questions:
    """Customers with at least three orders before the cutoff and one within the horizon after it.

    Attributes:
        customers: histories that end before the cutoff.
        next_baskets: what each customer's first order from the cutoff on held.
        horizon_baskets: what all of each customer's orders in the horizon held.
        others: histories of every customer who is not asked about, for methods that learn from neighbours.
        other_baskets: what the others bought in the horizon, mostly nothing.
    """

    cutoff: int
    horizon_days: int
    customers: list[Customer]
    next_baskets: list[Basket]
    horizon_baskets: list[Basket]
    others: list[Customer]
    other_baskets: list[Basket] = field(default_factory=list)

    @property
    def next_order(self) -> list[np.ndarray]:
        """For each customer the item indices of the first order from the cutoff on."""
        return [basket.items for basket in self.next_baskets]

    @property
    def horizon(self) -> list[np.ndarray]:
        """For each customer the item indices of all orders in the horizon."""
        return [basket.items for basket in self.horizon_baskets]

    def baskets(self, part: str) -> list[Basket]:
        """What the customers bought, for one of PARTS."""
        return self.next_baskets if part == NEXT else self.horizon_baskets

    @property
    def everyone(self) -> list[Customer]:
        """Every history: customers asked about first, then the others."""
        return self.customers + self.others


def ask(customers: Iterable[Customer], catalogue: Catalogue, cutoff: int, horizon_days: int) -> Questions:
    """Splits customers at the cutoff. Items that the catalogue lacks count in no truth."""
    end = cutoff + horizon_days * DAY
    questions = Questions(cutoff, horizon_days, [], [], [], [])
    for customer in customers:
        past = customer.before(cutoff)
        future = [
            order
            for order in customer.orders
            if cutoff <= order.ts < end and any(item in catalogue.index for item in order.items)
        ]
        if len(past.orders) >= MINIMUM_ORDERS and future:
            questions.customers.append(past)
            questions.next_baskets.append(Basket.of(future[:1], catalogue))
            questions.horizon_baskets.append(Basket.of(future, catalogue))
        elif past.orders:
            questions.others.append(past)
            questions.other_baskets.append(Basket.of(future, catalogue))
    return questions
