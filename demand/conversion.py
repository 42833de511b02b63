"""Conversion: of what models showed, how much was bought, as the applications told the log of events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from demand.bootstrap import interval, resampled_means
from demand.comparison import Estimate


@dataclass(frozen=True)
class Conversion:
    """Of one model: what each of its customers was shown, and how much of that they bought; arrays of one length."""

    shown: np.ndarray
    bought: np.ndarray

    @property
    def rate(self) -> float:
        """Of items, over all customers; NaN where nothing was shown."""
        return float(self.bought.sum() / self.shown.sum()) if self.shown.sum() else float("nan")


def conversions(feedback: Iterable[Mapping[Any, Any]]) -> dict[tuple[str, int], Conversion]:
    """By name and version of the model, from entries of the log (demand.events.model.Feedback)."""
    counts: dict[tuple[str, int], dict[str, list[int]]] = {}
    for each in feedback:
        shown = set(each["shown"])
        count = counts.setdefault((each["model"], each["version"]), {}).setdefault(each["customer_id"], [0, 0])
        count[0] += len(shown)
        count[1] += len(shown & set(each["bought"]))
    return {model: Conversion(*np.array(list(each.values())).T) for model, each in counts.items()}


def conversion_lead(one: Conversion, other: Conversion) -> Estimate:
    """How much higher the rate of one is, with its 95 % bootstrap interval over customers; each has shown something."""
    rows = np.zeros((len(one.shown) + len(other.shown), 4))
    rows[: len(one.shown), 0], rows[: len(one.shown), 1] = one.bought, one.shown
    rows[len(one.shown) :, 2], rows[len(one.shown) :, 3] = other.bought, other.shown
    means = resampled_means(rows)
    leads = means[:, 0] / np.maximum(means[:, 1], 1e-12) - means[:, 2] / np.maximum(means[:, 3], 1e-12)
    low, high = interval(leads[:, None])[:, 0]
    return Estimate(one.rate - other.rate, float(low), float(high))
