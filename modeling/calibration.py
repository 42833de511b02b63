"""Calibration: from how often an item is expected to the chance that it is bought within the question.

Platt scaling (Platt, 1999) on the log of the rate: chance = sigmoid(slope * log rate + level + span * log days).
It never changes the order of items.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.optimize import minimize
from scipy.special import expit

SMALLEST_RATE = 1e-9


class Curve(BaseModel):
    """One fitted curve; `span` is 0 for the next order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float
    level: float
    span: float = 0.0

    def chance(self, rates: np.ndarray, days: int) -> np.ndarray:
        """Rates of any shape to chances of the same shape."""
        log_rates = np.log(np.maximum(rates, SMALLEST_RATE))
        chances: np.ndarray = expit(self.slope * log_rates + self.level + self.span * np.log(max(days, 1)))
        return chances


class Calibration(BaseModel):
    """The curves of both kinds of question. The default takes orders as a Poisson process of small rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    next_order: Curve = Curve(slope=1.0, level=0.0)
    horizon: Curve = Curve(slope=1.0, level=0.0)

    def chance(self, rates: np.ndarray, days: int) -> np.ndarray:
        """Chances that items are bought in the next order (`days` 0) or within `days` days."""
        return (self.horizon if days else self.next_order).chance(rates, days)


def fit_curve(rates: Sequence[np.ndarray], bought: Sequence[np.ndarray], days: Sequence[int]) -> Curve:
    """Maximum-likelihood curve.

    Args:
        rates: for each window an (R, V) array of rates.
        bought: for each window a boolean array of the same shape.
        days: for each window its length, all 0 for the next order. Windows of one length leave `span` at 0.
    """
    logs = np.concatenate([np.log(np.maximum(each, SMALLEST_RATE)).ravel() for each in rates])
    labels = np.concatenate([each.ravel() for each in bought]).astype(np.float64)
    sizes = [each.size for each in rates]
    spans = np.repeat(np.log(np.maximum(days, 1)), sizes) if len(set(days)) > 1 else None
    features = np.stack([logs, np.ones_like(logs)] + ([] if spans is None else [spans]), axis=1)

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = features @ weights
        loss = np.logaddexp(0, scores).sum() - labels @ scores
        return loss / len(labels), features.T @ (expit(scores) - labels) / len(labels)

    start = np.array([1.0, 2.0] + ([] if spans is None else [0.0]))
    fitted = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B").x
    return Curve(slope=float(fitted[0]), level=float(fitted[1]), span=float(fitted[2]) if len(fitted) > 2 else 0.0)
