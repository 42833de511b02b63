"""Demand totals: what all customers together were expected to buy of each item, against what they bought."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.questions import Basket
from demand.uses.outlook import each_purchase


@dataclass(frozen=True)
class Totals:
    """Sums over customers, (V,) each: units and currency units, expected and bought."""

    expected_quantity: np.ndarray
    expected_amount: np.ndarray
    quantity: np.ndarray
    amount: np.ndarray

    def summary(self) -> dict[str, dict[str, float]]:
        """For "quantity" and "amount": "expected" and "bought", summed over items, and "wape", the sum of the items'
        absolute errors over the sum bought (absent where nothing was)."""
        return {
            "quantity": _summary(self.expected_quantity, self.quantity),
            "amount": _summary(self.expected_amount, self.amount),
        }


def totals(
    purchases: np.ndarray, customers: Sequence[Customer], baskets: Sequence[Basket], catalogue: Catalogue
) -> Totals:
    """What expected purchases amount to, by the rule of `modeling.predictor.Predictor.answer`, for all items at once.

    Args:
        purchases: (R, V) orders with each item that are expected of each customer within the horizon.
        customers: histories up to the moment asked about.
        baskets: what they then bought.
    """
    sums = np.zeros((4, len(catalogue)))
    for row, (customer, basket) in enumerate(zip(customers, baskets, strict=True)):
        items, quantities, amounts = each_purchase(customer, catalogue)
        sums[0, items] += purchases[row, items] * (quantities - catalogue.mean_quantity[items])
        sums[1, items] += purchases[row, items] * (amounts - catalogue.mean_amount[items])
        sums[2, basket.items] += basket.quantities
        sums[3, basket.items] += basket.amounts
    all_purchases = purchases.sum(0, dtype=np.float64)
    sums[0] += all_purchases * catalogue.mean_quantity
    sums[1] += all_purchases * catalogue.mean_amount
    return Totals(*sums)


def _summary(expected: np.ndarray, bought: np.ndarray) -> dict[str, float]:
    facts = {"expected": float(expected.sum()), "bought": float(bought.sum())}
    if facts["bought"]:
        facts["wape"] = float(np.abs(expected - bought).sum() / facts["bought"])
    return facts
