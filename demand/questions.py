"""Questions about customers: who is asked about, with what history, and what they then really bought."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer, Order
from demand.moments import DAY
from demand.prompts import NEXT_ORDER

MINIMUM_ORDERS = 3
NEXT, HORIZON = PARTS = ("next_order", "horizon")
"""The questions of an evaluation: what the next order holds, and what all orders in the horizon hold."""


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


@dataclass(frozen=True)
class Question:
    """What is asked about a customer: as of a moment, the next order (`horizon_days` 0) or so many days."""

    customer: Customer
    as_of: int
    horizon_days: int = NEXT_ORDER


@dataclass(frozen=True)
class Case:
    """A customer at the moment of a question.

    Attributes:
        past: all that was known at the moment.
        moment: when the question is asked.
        future: the orders from then on, as far as the question's window reaches.
    """

    past: Customer
    moment: int
    future: tuple[Order, ...]

    @classmethod
    def at(cls, customer: Customer, moment: int, end: int) -> "Case":
        """A whole customer, cut at a moment; orders from `end` on are left out."""
        return cls(customer.before(moment), moment, tuple(each for each in customer.orders if moment <= each.ts < end))


@dataclass(frozen=True)
class Questions:
    """Customers who are asked about, with enough orders before and one after.

    Attributes:
        cutoff: the moment of the questions; where each customer is asked at a moment of its own, the latest of these.
        horizon_days: length of the horizon; 0 where only the next order is asked about, each at its own moment.
        customers: histories that end before the customer's moment.
        next_baskets: what each customer's first order from then on held.
        horizon_baskets: what all of each customer's orders in the horizon held.
        others: histories of every customer who is not asked about, for methods that learn from neighbours.
        other_baskets: what the others bought in the horizon, mostly nothing.
        moments: when each customer is asked.
    """

    cutoff: int
    horizon_days: int
    customers: list[Customer]
    next_baskets: list[Basket]
    horizon_baskets: list[Basket]
    others: list[Customer]
    other_baskets: list[Basket] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)

    @property
    def parts(self) -> tuple[str, ...]:
        """Those of PARTS that are asked."""
        return PARTS if self.horizon_days else (NEXT,)

    @property
    def next_order(self) -> list[np.ndarray]:
        """For each customer the item indices of the first order from its moment on."""
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

    def earlier(self, catalogue: Catalogue) -> "Questions":
        """What these histories allow to be asked before, for methods that learn or choose by questions and answers: a
        horizon's days earlier, or about the last order of each history."""
        if self.horizon_days:
            return ask(self.everyone, catalogue, self.cutoff - self.horizon_days * DAY, self.horizon_days)
        return pose(last_orders(self.everyone, 1), catalogue, 0, fewest=1)


def ask(customers: Iterable[Customer], catalogue: Catalogue, cutoff: int, horizon_days: int) -> Questions:
    """Splits customers at the cutoff and asks those with three orders before. Items that the catalogue lacks count in
    no truth."""
    end = cutoff + horizon_days * DAY
    return pose((Case.at(each, cutoff, end) for each in customers), catalogue, horizon_days, MINIMUM_ORDERS)


def last_orders(customers: Iterable[Customer], ago: int) -> Iterator[Case]:
    """Each customer at a moment of an order, with what was ordered then as its future: 1 for the last of these moments,
    2 for the one before."""
    for customer in customers:
        moments = sorted({order.ts for order in customer.orders})
        if len(moments) >= ago:
            yield Case.at(customer, moments[-ago], moments[-ago] + 1)


def pose(cases: Iterable[Case], catalogue: Catalogue, horizon_days: int, fewest: int) -> Questions:
    """Asks customers with so many orders in their past and, in their future, one with an item of the catalogue."""
    questions = Questions(0, horizon_days, [], [], [], [])
    cutoff = 0
    for case in cases:
        cutoff = max(cutoff, case.moment)
        future = [order for order in case.future if any(item in catalogue.index for item in order.items)]
        if len(case.past.orders) >= fewest and future:
            questions.customers.append(case.past)
            questions.moments.append(case.moment)
            questions.next_baskets.append(Basket.of(future[:1], catalogue))
            questions.horizon_baskets.append(Basket.of(future, catalogue))
        elif case.past.orders:
            questions.others.append(case.past)
            questions.other_baskets.append(Basket.of(future, catalogue))
    return replace(questions, cutoff=cutoff)
