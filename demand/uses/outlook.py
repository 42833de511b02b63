"""What a model expects of customers, as all uses take it.

Shapes: R questions, V catalogue items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.metrics import top_k
from demand.questions import Basket, Question
from demand.uses.explanation import Explanation


@dataclass(frozen=True)
class Demand:
    """One item of an answer.

    Attributes:
        item: catalogue index.
        probability: chance that the customer buys the item within the question.
        expected_quantity, expected_amount: what the customer will buy of it within the question, on average.
    """

    item: int
    probability: float
    expected_quantity: float
    expected_amount: float


@dataclass(frozen=True)
class Outlook:
    """Questions, and what a model expects.

    Attributes:
        orders: (R,) the chance of any order.
        rates: (R, V) what items are ranked by: how often the model expects each.
        chances: (R, V) that each item is bought, calibrated.
        purchases: (R, V) how many orders with each item are expected; of the next order the chance.
        explanations: why, of each question's likeliest items in their order, where that was asked for.
    """

    catalogue: Catalogue
    questions: Sequence[Question]
    orders: np.ndarray
    rates: np.ndarray
    chances: np.ndarray
    purchases: np.ndarray
    explanations: Sequence[Sequence[Explanation]] = ()

    def demands(self, k: int) -> list[list[Demand]]:
        """The k likeliest items of each question, likeliest first."""
        quantities, amounts = self.worth()
        return [
            [
                Demand(int(item), *(float(each[row, item]) for each in (self.chances, quantities, amounts)))
                for item in items
            ]
            for row, items in enumerate(top_k(self.rates, k))
        ]

    def by_horizon(self) -> list["Outlook"]:
        """One for each horizon of the questions, the shortest first, without explanations."""
        horizons = [each.horizon_days for each in self.questions]
        return [self._of([row for row, each in enumerate(horizons) if each == days]) for days in sorted(set(horizons))]

    def _of(self, rows: list[int]) -> "Outlook":
        questions = [self.questions[row] for row in rows]
        orders, rates, chances, purchases = (
            each[rows] for each in (self.orders, self.rates, self.chances, self.purchases)
        )
        return Outlook(self.catalogue, questions, orders, rates, chances, purchases)

    def worth(self) -> tuple[np.ndarray, np.ndarray]:
        """Units, and spend in currency units, that are expected of each item, (R, V) each."""
        quantities = self.purchases * self.catalogue.mean_quantity
        amounts = self.purchases * self.catalogue.mean_amount
        for row, question in enumerate(self.questions):
            items, quantity, amount = each_purchase(question.customer, self.catalogue)
            quantities[row, items] = self.purchases[row, items] * quantity
            amounts[row, items] = self.purchases[row, items] * amount
        return quantities, amounts


def each_purchase(customer: Customer, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items that a customer bought, and what one purchase of each holds and costs: by the customer's own record, with
    the catalogue's as one purchase more."""
    own = Basket.of(customer.orders, catalogue)
    places = [catalogue.index[item] for order in customer.orders for item in order.items if item in catalogue.index]
    times = np.bincount(places, minlength=len(catalogue))[own.items] + 1 if places else np.ones(0)
    quantities = (own.quantities + catalogue.mean_quantity[own.items]) / times
    amounts = (own.amounts + catalogue.mean_amount[own.items]) / times
    return own.items, quantities, amounts
