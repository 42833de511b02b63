"""Marketing: who is most likely to want something, how many of them are worth asking, and what will come of it."""

import math
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


def fixed_size(
    size: int | None = None,
    threshold: float | None = None,
    budget: float | None = None,
    cost: float | None = None,
    smallest: int = SMALLEST,
) -> int | None:
    """How many customers an audience is to have; None where a threshold says who.

    Args:
        budget, cost: of all together, and of one, in currency units.

    Raises:
        SettingsError: not exactly one of the three ways is given, asking costs nothing, or the group would be smaller
            than `smallest`.
    """
    if (size is not None) + (threshold is not None) + (budget is not None) != 1:
        raise SettingsError("an audience wants one of size, threshold, or budget with cost")
    if (budget is None) != (cost is None):
        raise SettingsError("a budget wants the cost of asking one customer, and the other way round")
    if budget is not None and cost is not None:
        if not cost > 0:
            raise SettingsError(f"asking one customer must cost something, not {cost:g}: else no budget says how many")
        if not math.isfinite(budget / cost):
            raise SettingsError(f"a budget of {budget:g} at {cost:g} each is for more customers than can be counted")
        size = int(round(budget / cost, 6))  # 100 at .1 each are 1,000, and not 999
    if size is not None:
        _check(size, smallest)
    return size


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
        chances: (R,) of each customer. The others as `fixed_size` takes them.

    Raises:
        SettingsError: as `fixed_size` does.
    """
    count = fixed_size(size, threshold, budget, cost, smallest)
    if count is None:
        count = int((chances >= threshold).sum())
    count = min(count, len(chances))
    _check(count, smallest)
    rows = np.argsort(-chances, kind="stable")[:count]
    response = float(chances[rows].sum())
    return Audience(rows, response, response / max(float(chances.sum()), 1e-12))


def _check(count: int, smallest: int) -> None:
    if count < smallest:
        raise SettingsError(f"the audience would be {count}, and {smallest} are the fewest")
