"""Stores: what customers will buy, shared among the stores where they buy.

A customer's purchases are taken to fall to stores as its own orders did, late ones more than early ones, with one
order more that lies where all customers' orders do: so who ordered once may yet go elsewhere, and who never ordered
goes where all go.

Shapes: S stores, V catalogue items; 3 for the fields of demand.uses.supply.Expected.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from demand.customer import Customer
from demand.moments import DAY
from demand.uses.outlook import Outlook
from demand.uses.supply import Expected

UNKNOWN = ""
"""The store of orders that name none, and of all where stores do not matter."""
HALF_LIFE_DAYS = 56.0
"""In which an order comes to say half as much of where the next one will be."""


@dataclass(frozen=True)
class Placed:
    """What some customers will buy, and where.

    Attributes:
        stores: where they have ordered.
        orders: (S,) in each, faded by their age.
        own: what their own orders say that they will buy there, (S, 3, V).
        rest: what falls to stores as all customers' orders did, (3, V).
    """

    stores: Sequence[str]
    orders: np.ndarray
    own: np.ndarray
    rest: np.ndarray

    @classmethod
    def of(cls, outlook: Outlook, split: bool = True) -> "Placed":
        """Of the customers asked about; all in one store where it is not to be split."""
        been = [_orders(each.customer, each.as_of, split) for each in outlook.questions]
        stores = sorted(set().union(*been))
        orders = np.array([[each.get(store, 0.0) for each in been] for store in stores]).reshape(len(stores), len(been))
        times = orders.sum(0) + 1
        parts = Expected.each(outlook).parts
        return cls(
            stores, orders.sum(1), np.einsum("sr,frv->sfv", orders / times, parts, optimize=True), 1 / times @ parts
        )

    @classmethod
    def total(cls, parts: Iterable["Placed"]) -> "Placed":
        """Of all customers, from parts of them, of which it holds one at a time. There must be one."""
        orders: defaultdict[str, float] = defaultdict(float)
        own: dict[str, np.ndarray] = {}
        rest: np.ndarray | float = 0.0
        for part in parts:
            rest = rest + part.rest
            for store, count, expected in zip(part.stores, part.orders, part.own, strict=True):
                orders[store] += count
                own[store] = own[store] + expected if store in own else expected
        return cls(list(own), np.array([orders[each] for each in own]), np.array(list(own.values())), np.asarray(rest))

    def among(self, stores: Sequence[str]) -> Expected:
        """What is expected in each of some stores, (S, V), those where they have ordered among them: it adds up to all
        that is expected."""
        if not len(self.stores):
            return Placed([UNKNOWN], np.ones(1), np.zeros((1, *self.rest.shape)), self.rest).among(stores)
        place = {store: number for number, store in enumerate(stores)}
        found = np.zeros((len(stores), *self.rest.shape))
        orders = self.orders + np.finfo(float).tiny  # where all are so old that they have faded to nothing
        shares = orders / orders.sum()
        found[[place[each] for each in self.stores]] = self.own + shares[:, None, None] * self.rest
        return Expected(*np.moveaxis(found, 1, 0))


def stores_of(customers: Iterable[Customer]) -> list[str]:
    """Where some customers have ordered, sorted."""
    return sorted({order.store or UNKNOWN for each in customers for order in each.orders})


def _orders(customer: Customer, as_of: int, split: bool) -> Mapping[str, float]:
    """A customer's orders by store, each counted less the older it is."""
    found: defaultdict[str, float] = defaultdict(float)
    for order in customer.orders:
        found[(order.store or UNKNOWN) if split else UNKNOWN] += 2 ** (-(as_of - order.ts) / DAY / HALF_LIFE_DAYS)
    return found
