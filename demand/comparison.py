"""A model against other methods on the same customers: means, their intervals, and paired differences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from demand.bootstrap import interval, resampled_means
from demand.metrics import METRICS, customer_metrics

MODEL = "model"
Measure = Callable[[np.ndarray, Sequence[np.ndarray]], Mapping[str, np.ndarray]]
"""From rankings and truths to metrics by name, a value for each row, as `demand.metrics.customer_metrics`."""


@dataclass(frozen=True)
class Estimate:
    """A mean over customers and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """How methods did.

    Attributes:
        customers: over how many customers.
        methods: {method: {metric: estimate}}.
        differences: {method: {metric: the model's lead over it, customer by customer}}, without the model itself.
    """

    customers: int
    methods: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Estimate]]

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """{method: {metric: mean}}."""
        return {name: {key: each.mean for key, each in row.items()} for name, row in self.methods.items()}


def compare(
    rankings: Mapping[str, np.ndarray],
    truths: Sequence[np.ndarray],
    measure: Measure = customer_metrics,
    metrics: Sequence[str] = METRICS,
) -> Comparison:
    """Compares rankings by some of the metrics that `measure` gives.

    Args:
        rankings: by method, (R, K) item indices, best first; with MODEL there are differences from it.
        truths: for each row the indices of the items really bought, at least one.
    """
    names = list(rankings)
    measured = [measure(ranked, truths) for ranked in rankings.values()]
    values = np.stack([np.stack([row[key] for key in metrics], axis=1) for row in measured], axis=1)
    resampled = resampled_means(values.reshape(len(truths), -1)).reshape(-1, *values.shape[1:])
    methods = dict(zip(names, _estimates(values.mean(0), resampled, metrics), strict=True))
    differences: dict[str, dict[str, Estimate]] = {}
    if MODEL in names:
        model = names.index(MODEL)
        leads = _estimates(values.mean(0)[[model]] - values.mean(0), resampled[:, [model]] - resampled, metrics)
        differences = {name: lead for name, lead in zip(names, leads, strict=True) if name != MODEL}
    return Comparison(len(truths), methods, differences)


def _estimates(means: np.ndarray, resampled: np.ndarray, metrics: Sequence[str]) -> list[dict[str, Estimate]]:
    """(methods, metrics) and (resamples, methods, metrics) to each method's estimates."""
    low, high = interval(resampled)
    return [
        {
            metric: Estimate(float(means[row, column]), float(low[row, column]), float(high[row, column]))
            for column, metric in enumerate(metrics)
        }
        for row in range(len(means))
    ]
