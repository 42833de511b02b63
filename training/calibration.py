"""Fits a model's probabilities to what customers bought in validation."""

from collections.abc import Sequence

import numpy as np

from demand.dataset import Dataset
from demand.moments import DAY
from demand.prompts import NEXT_ORDER
from demand.protocols import VALIDATION, Protocol
from demand.questions import Case, Question
from modeling.calibration import Calibration, Curve, fit_curve
from modeling.predictor import Predictor

CUSTOMERS = 800
HORIZON_SHARES = (0.5, 1.0)
"""Horizons that are asked about, as shares of the validation period."""


def calibrate(predictor: Predictor, dataset: Dataset, customers: Sequence[str], protocol: Protocol) -> Calibration:
    """Curves for the next order and, where validation has a horizon, for horizons; from a sample of customers with an
    order before their validation.

    The next order is judged by customers who then ordered; a horizon by all of them, for an order that does not come is
    part of the answer.
    """
    cases = [each for each in protocol.cases(dataset, sampled(customers), VALIDATION) if each.past.orders]
    ordered = [each for each in cases if each.future]
    if not ordered:
        return Calibration()
    next_order, _ = _fit(predictor, ordered, [NEXT_ORDER])
    days = protocol.horizon_days(VALIDATION)
    if not days:
        return Calibration(next_order=next_order)
    horizon, purchases = _fit(predictor, cases, sorted({max(int(days * share), 1) for share in HORIZON_SHARES}))
    return Calibration(next_order=next_order, horizon=horizon, purchases=purchases)


def sampled(customers: Sequence[str], other: bool = False) -> Sequence[str]:
    """From CUSTOMERS to less than twice as many of them, evenly spread; `other` than these where there are enough."""
    step = max(len(customers) // CUSTOMERS, 1)
    return customers[int(other and step > 1) :: step]


def _fit(predictor: Predictor, cases: Sequence[Case], horizons: Sequence[int]) -> tuple[Curve, float]:
    """The curve, and how many purchases there were for each one expected."""
    rates = [predictor.rates([Question(each.past, each.moment, days) for each in cases]) for days in horizons]
    purchases = [np.stack([_purchases(predictor, each, days) for each in cases]) for days in horizons]
    curve = fit_curve(rates, [each > 0 for each in purchases], horizons)
    expected = sum(float(each.sum(dtype=np.float64)) for each in rates)
    return curve, max(sum(int(each.sum()) for each in purchases), 1) / expected


def _purchases(predictor: Predictor, case: Case, days: int) -> np.ndarray:
    """How many of the orders asked about held each item, (V,)."""
    orders = [order for order in case.future if order.ts < case.moment + days * DAY] if days else case.future[:1]
    index = predictor.catalogue.index
    held = [index[item] for order in orders for item in set(order.items) if item in index]
    return np.bincount(held, minlength=len(index)) if held else np.zeros(len(index), dtype=np.int64)
