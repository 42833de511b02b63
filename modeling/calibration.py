"""Calibration: from how often an item is expected to the chance that it is bought within the question.

Of a Poisson process with the rate r, the chance is 1 - exp(-r): Platt scaling (Platt, 1999) with that link,

    chance = 1 - exp(-exp(slope * log r + bend * max(log r - log BEND, 0) + level + span * log days))

Without a bend, what is seldom bought, which is nearly everything, would decide what is said of the few likely items
that are shown. It never changes the order of items.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

SMALLEST_RATE = 1e-9
BEND = 0.05
"""Rates above it have a slope of their own."""
STEEPEST = 3.0
"""Highest logarithm of a calibrated rate: the chance is 1."""


class Curve(BaseModel):
    """One fitted curve; `span` is 0 for the next order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float
    level: float
    bend: float = 0.0
    span: float = 0.0

    def chance(self, rates: np.ndarray, days: int) -> np.ndarray:
        """Rates of any shape to chances of the same shape."""
        logs = np.log(np.maximum(rates, SMALLEST_RATE))
        more = self.bend * np.maximum(logs - np.log(BEND), 0)
        chances: np.ndarray = _chance(self.slope * logs + more + self.level + self.span * np.log(max(days, 1)))
        return chances


class Calibration(BaseModel):
    """The curves of both kinds of question. The default believes the rates.

    Attributes:
        purchases: how many there were within horizons for each one that rates let expect.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    next_order: Curve = Curve(slope=1.0, level=0.0)
    horizon: Curve = Curve(slope=1.0, level=0.0)
    purchases: float = Field(default=1.0, gt=0)

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
    from scipy.optimize import minimize  # takes a while to load, and answering needs none of it

    logs = np.concatenate([np.log(np.maximum(each, SMALLEST_RATE)).ravel() for each in rates])
    happened = np.concatenate([each.ravel() for each in bought])
    spans = np.repeat(np.log(np.maximum(days, 1)), [each.size for each in rates])
    features = np.stack([logs, np.maximum(logs - np.log(BEND), 0), np.ones_like(logs), spans], axis=1)

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = np.minimum(features @ weights, STEEPEST)
        rate, chance = np.exp(scores), _chance(scores)
        loss = np.where(happened, -np.log(chance), rate)
        slope = np.where(happened, -rate * (1 - chance) / chance, rate)
        return loss.mean(), features.T @ slope / len(scores)

    rising, any_, none = (1e-3, None), (None, None), (0.0, 0.0)
    bounds = [rising, (0.0, None), any_, any_ if len(set(days)) > 1 else none]
    fitted = minimize(loss_and_gradient, np.array([1.0, 0.0, 0.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Curve(slope=float(fitted[0]), bend=float(fitted[1]), level=float(fitted[2]), span=float(fitted[3]))


def _chance(logs: np.ndarray) -> np.ndarray:
    """Of at least one event, from the logarithm of its rate."""
    chance: np.ndarray = np.maximum(-np.expm1(-np.exp(np.minimum(logs, STEEPEST))), SMALLEST_RATE)
    return chance
