"""What a model expects of customers, as all uses take it.

Shapes: R customers, V catalogue items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.moments import DAY
from demand.questions import Basket


@dataclass(frozen=True)
class Outlook:
    """Customers, and what they will do within a horizon.

    Attributes:
        customers: histories that end before `as_of`.
        orders: (R,) the chance of any order.
        chances: (R, V) that each item is bought.
        purchases: (R, V) how many orders with each item are expected.
    """

    catalogue: Catalogue
    customers: Sequence[Customer]
    as_of: int
    horizon_days: int
    orders: np.ndarray
    chances: np.ndarray
    purchases: np.ndarray

    @property
    def until(self) -> int:
        """The end of the horizon."""
        return self.as_of + self.horizon_days * DAY

    def quantities(self) -> np.ndarray:
        """(R, V) units expected."""
        return self._worth(0, self.catalogue.mean_quantity)

    def amounts(self) -> np.ndarray:
        """(R, V) spend expected, in currency units."""
        return self._worth(1, self.catalogue.mean_amount)

    def _worth(self, which: int, mean: np.ndarray) -> np.ndarray:
        worth: np.ndarray = self.purchases * mean
        for row, customer in enumerate(self.customers):
            items, *each_time = each_purchase(customer, self.catalogue)
            worth[row, items] = self.purchases[row, items] * each_time[which]
        return worth


def each_purchase(customer: Customer, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items that a customer bought, and what one purchase of each holds and costs: by the customer's own record, with
    the catalogue's as one purchase more."""
    own = Basket.of(customer.orders, catalogue)
    places = [catalogue.index[item] for order in customer.orders for item in order.items if item in catalogue.index]
    times = np.bincount(places, minlength=len(catalogue))[own.items] + 1 if places else np.ones(0)
    quantities = (own.quantities + catalogue.mean_quantity[own.items]) / times
    amounts = (own.amounts + catalogue.mean_amount[own.items]) / times
    return own.items, quantities, amounts
