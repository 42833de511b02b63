"""Fits a model's probabilities to what customers bought in the validation period."""

from collections.abc import Sequence

import numpy as np

from demand.customer import Customer
from demand.dataset import Dataset
from demand.moments import DAY
from demand.prompts import NEXT_ORDER
from modeling.calibration import Calibration, Curve, fit_curve
from modeling.predictor import Predictor, Question

CUSTOMERS = 800
HORIZON_SHARES = (0.5, 1.0)
"""Horizons that are asked about, as shares of the period."""


def calibrate(predictor: Predictor, dataset: Dataset, customers: Sequence[str], start: int, days: int) -> Calibration:
    """Curves for the next order and for horizons, from a sample of customers with an order before `start`.

    The next order is judged by customers who ordered within the period; a horizon by all of them, for an order that
    does not come is part of the answer.
    """
    step = max(len(customers) // CUSTOMERS, 1)
    seen = [
        each for each in dataset.customers(customers[::step], before=start + days * DAY) if each.before(start).orders
    ]
    ordered = [each for each in seen if each.orders[-1].ts >= start]
    if not ordered:
        return Calibration()
    next_order = _fit(predictor, ordered, start, [NEXT_ORDER])
    horizons = sorted({max(int(days * share), 1) for share in HORIZON_SHARES})
    return Calibration(next_order=next_order, horizon=_fit(predictor, seen, start, horizons))


def _fit(predictor: Predictor, customers: Sequence[Customer], start: int, horizons: Sequence[int]) -> Curve:
    rates, bought = [], []
    for days in horizons:
        rates.append(predictor.rates([Question(each, start, days) for each in customers]))
        truth = np.zeros(rates[-1].shape, dtype=bool)
        for row, customer in enumerate(customers):
            truth[row, _bought(predictor, customer, start, days)] = True
        bought.append(truth)
    return fit_curve(rates, bought, horizons)


def _bought(predictor: Predictor, customer: Customer, start: int, days: int) -> list[int]:
    future = [order for order in customer.orders if order.ts >= start]
    orders = [order for order in future if order.ts < start + days * DAY] if days else future[:1]
    index = predictor.catalogue.index
    return [index[item] for order in orders for item in order.items if item in index]
