"""Customer relationship: whether a customer comes back, what for, and what has changed of late."""

from dataclasses import dataclass

import numpy as np

from demand.customer import Customer
from demand.moments import DAY

OVERDUE = 2.0
"""Times the usual gap, after which a customer, or an item, is late."""
USUAL = 3
"""Purchases, before which nothing is usual."""


@dataclass(frozen=True)
class Change:
    """What is different now.

    Attributes:
        days_since_order: None of a customer who never ordered.
        usual_gap_days: between orders, the median; None where there were fewer than USUAL.
        spend, spend_before: in the days before the moment, as many as the horizon has, and in as many before those.
        missing: items that were bought regularly and are overdue, the most overdue first.
    """

    days_since_order: float | None
    usual_gap_days: float | None
    spend: float
    spend_before: float
    missing: list[str]

    @property
    def late(self) -> bool:
        """Whether the customer usually would have ordered by now."""
        if self.days_since_order is None or not self.usual_gap_days:
            return False
        return self.days_since_order > OVERDUE * self.usual_gap_days


def change(customer: Customer, as_of: int, days: int) -> Change:
    """Of a customer, up to a moment.

    Args:
        days: length of the two periods that are compared.
    """
    orders = [order for order in customer.orders if order.ts < as_of]
    since, gap = pace([order.ts for order in orders], as_of)
    times: dict[str, list[int]] = {}
    for order in orders:
        for item in order.items:
            times.setdefault(item, []).append(order.ts)
    late = {}
    for item, moments in times.items():
        item_since, item_gap = pace(moments, as_of)
        if item_since is not None and item_gap and item_since > OVERDUE * item_gap:
            late[item] = item_since / item_gap
    return Change(
        since,
        gap,
        _spend(customer, as_of - days * DAY, as_of),
        _spend(customer, as_of - 2 * days * DAY, as_of - days * DAY),
        sorted(late, key=lambda item: (-late[item], item)),
    )


def pace(moments: list[int], as_of: int) -> tuple[float | None, float | None]:
    """Days since the last of some moments in time order, and their usual gap in days."""
    since = (as_of - moments[-1]) / DAY if moments else None
    gap = float(np.median(np.diff(moments))) / DAY if len(moments) >= USUAL else None
    return since, gap


def _spend(customer: Customer, start: int, end: int) -> float:
    return sum(order.amount for order in customer.orders if start <= order.ts < end)
