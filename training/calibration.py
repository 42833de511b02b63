"""Fits a model's probabilities to what customers bought in validation."""

from collections.abc import Sequence

import numpy as np

from demand.dataset import Dataset
from demand.moments import DAY
from demand.prompts import NEXT_ORDER
from demand.protocols import VALIDATION, Protocol
from demand.questions import Case
from modeling.calibration import Calibration, Curve, fit_curve
from modeling.predictor import Predictor, Question

CUSTOMERS = 800
HORIZON_SHARES = (0.5, 1.0)
"""Horizons that are asked about, as shares of the validation period."""


def calibrate(predictor: Predictor, dataset: Dataset, customers: Sequence[str], protocol: Protocol) -> Calibration:
    """Curves for the next order and, where validation has a horizon, for horizons; from a sample of customers with an
    order before their validation.

    The next order is judged by customers who then ordered; a horizon by all of them, for an order that does not come is
    part of the answer.
    """
    step = max(len(customers) // CUSTOMERS, 1)
    cases = [each for each in protocol.cases(dataset, customers[::step], VALIDATION) if each.past.orders]
    ordered = [each for each in cases if each.future]
    if not ordered:
        return Calibration()
    next_order = _fit(predictor, ordered, [NEXT_ORDER])
    days = protocol.horizon_days(VALIDATION)
    if not days:
        return Calibration(next_order=next_order)
    horizons = sorted({max(int(days * share), 1) for share in HORIZON_SHARES})
    return Calibration(next_order=next_order, horizon=_fit(predictor, cases, horizons))


def _fit(predictor: Predictor, cases: Sequence[Case], horizons: Sequence[int]) -> Curve:
    rates, bought = [], []
    for days in horizons:
        rates.append(predictor.rates([Question(each.past, each.moment, days) for each in cases]))
        truth = np.zeros(rates[-1].shape, dtype=bool)
        for row, case in enumerate(cases):
            truth[row, _bought(predictor, case, days)] = True
        bought.append(truth)
    return fit_curve(rates, bought, horizons)


def _bought(predictor: Predictor, case: Case, days: int) -> list[int]:
    orders = [order for order in case.future if order.ts < case.moment + days * DAY] if days else case.future[:1]
    index = predictor.catalogue.index
    return [index[item] for order in orders for item in order.items if item in index]
