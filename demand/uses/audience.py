"""Marketing: who is most likely to want something, how many of them are worth asking, and what will come of it."""

from dataclasses import dataclass

import numpy as np

from demand.errors import SettingsError

SMALLEST = 10
"""People of a group, at least: of fewer too much would be told."""


@dataclass(frozen=True)
class Audience:
    """Whom to ask.

    Attributes:
        rows: places of the chosen customers, the likeliest first.
        response: how many of them are expected to buy.
        reached: which share of all who are expected to buy is among them.
    """

    rows: np.ndarray
    response: float
    reached: float


def chance_of_any(chances: np.ndarray) -> np.ndarray:
    """The chance that any of some items is bought, each by itself. (R, I) -> (R,)."""
    any_of: np.ndarray = -np.expm1(np.log1p(-np.minimum(chances, 1 - 1e-12)).sum(1))
    return any_of


def choose(
    chances: np.ndarray,
    size: int | None = None,
    threshold: float | None = None,
    budget: float | None = None,
    cost: float | None = None,
    smallest: int = SMALLEST,
) -> Audience:
    """The likeliest customers: so many, those from a chance on, or as many as a budget pays for.

    Args:
        chances: (R,) of each customer.
        budget, cost: of all together, and of one, in currency units.

    Raises:
        SettingsError: not exactly one of the three ways is given, or the group would be smaller than `smallest`.
    """
    if (size is not None) + (threshold is not None) + (budget is not None) != 1:
        raise SettingsError("an audience wants one of size, threshold, or budget with cost")
    if (budget is None) != (cost is None):
        raise SettingsError("a budget wants the cost of asking one customer, and the other way round")
    ranked = np.argsort(-chances, kind="stable")
    if threshold is not None:
        count = int((chances >= threshold).sum())
    else:
        paid_for = size if budget is None or cost is None else int(budget // cost)
        count = min(paid_for or 0, len(ranked))
    if count < smallest:
        raise SettingsError(f"the audience would be {count}, and {smallest} are the fewest")
    rows = ranked[:count]
    response = float(chances[rows].sum())
    return Audience(rows, response, response / max(float(chances.sum()), 1e-12))
