"""The evaluation protocol: which customers are asked about, with what history, and what they then really bought."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.moments import DAY

MINIMUM_ORDERS = 3


@dataclass(frozen=True)
class Questions:
    """Customers with at least three orders before the cutoff and one within the horizon after it.

    Attributes:
        customers: histories that end before the cutoff.
        next_order: for each customer the item indices of the first order from the cutoff on.
        horizon: for each customer the item indices of all orders in the horizon.
        others: histories of every customer who is not asked about, for methods that learn from neighbours.
    """

    cutoff: int
    horizon_days: int
    customers: list[Customer]
    next_order: list[np.ndarray]
    horizon: list[np.ndarray]
    others: list[Customer]


def ask(customers: Iterable[Customer], catalogue: Catalogue, cutoff: int, horizon_days: int) -> Questions:
    """Splits customers at the cutoff. Items that the catalogue lacks count in no truth."""
    end = cutoff + horizon_days * DAY
    questions = Questions(cutoff, horizon_days, [], [], [], [])
    for customer in customers:
        past = customer.before(cutoff)
        future = [order for order in customer.orders if cutoff <= order.ts < end]
        orders = [indices for order in future if len(indices := _indices(order.items, catalogue))]
        if len(past.orders) >= MINIMUM_ORDERS and orders:
            questions.customers.append(past)
            questions.next_order.append(orders[0])
            questions.horizon.append(np.unique(np.concatenate(orders)))
        elif past.orders:
            questions.others.append(past)
    return questions


def _indices(items: tuple[str, ...], catalogue: Catalogue) -> np.ndarray:
    return np.unique([catalogue.index[item] for item in items if item in catalogue.index]).astype(np.int64)
