"""Recommendation: a list of items for one customer, within what the shop allows."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from demand.catalogue import Catalogue
from demand.customer import Customer

BOUGHT_AGAIN = 0.05
"""Of those who bought an item, the share who did so again, below which a repeat makes no sense."""
CENT_OF_CENTS = 1e-6
"""Of a currency unit: three items at .1 cost .3, whatever their sum in binary is."""
BUYERS = 20
"""Before so many have bought an item, nobody knows whether it is bought again."""


class Wish(BaseModel):
    """What a list may hold. Everything may be left out.

    Attributes:
        size: items of the list, at most.
        in_stock: ids of all that may be shown.
        never: ids that may not.
        categories: the only ones that may be shown.
        per_category: items of one category, at most.
        budget: what all items of the list may cost together, one unit of each.
        repeats: whether items may be shown that the customer owns and that people buy once (see `bought_once`).
        diversity: from 0 to 1; each further item of a category counts so much less than the one before.
        explore: share of the list for items that the customer never bought.
        by: what makes an item good: the chance that it is bought, or the spend to be expected of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: int = Field(default=10, ge=1, le=1_000)
    in_stock: frozenset[str] | None = Field(default=None, max_length=100_000)
    never: frozenset[str] = Field(default=frozenset(), max_length=100_000)
    categories: frozenset[str] | None = Field(default=None, max_length=10_000)
    per_category: int | None = Field(default=None, ge=1)
    budget: float | None = Field(default=None, gt=0)
    repeats: bool = False
    diversity: float = Field(default=0.0, ge=0, le=1)
    explore: float = Field(default=0.0, ge=0, le=1)
    by: Literal["chance", "amount"] = "chance"


@dataclass(frozen=True)
class Recommended:
    """One item of a list.

    Attributes:
        item: catalogue index.
        new: whether the customer never bought it.
        price: of one unit, in currency units; None where it is not known.
    """

    item: int
    new: bool
    price: float | None


def recommend(
    customer: Customer, catalogue: Catalogue, chances: np.ndarray, amounts: np.ndarray, wish: Wish
) -> list[Recommended]:
    """The best list, chosen item after item: those for exploration first, as many as `explore` rounds down to.

    No item breaks a wish, whatever it is worth: what breaks one is never looked at. So a list may be short, or empty.

    Args:
        chances, amounts: (V,) the chance that each item is bought, and the spend expected of it.
    """
    owned = np.zeros(len(catalogue), dtype=bool)
    owned[[catalogue.index[item] for order in customer.orders for item in order.items if item in catalogue.index]] = (
        True
    )
    allowed = allowed_items(catalogue, wish, owned)
    prices = catalogue.prices
    worth = (chances if wish.by == "chance" else amounts).astype(np.float64)
    chosen: list[Recommended] = []
    taken: Counter[int] = Counter()
    left = wish.budget or 0.0
    new = int(round(wish.explore * wish.size, 6))
    for place in range(wish.size):
        fits = allowed.copy()
        if wish.budget is not None:
            fits &= prices <= left + CENT_OF_CENTS
        if place < new:
            fits &= ~owned
        if not fits.any():
            continue  # none is new; what the customer knows may still fill the list
        item = int(np.argmax(np.where(fits, worth, -np.inf)))
        chosen.append(Recommended(item, not owned[item], float(prices[item]) if np.isfinite(prices[item]) else None))
        left -= prices[item]
        allowed[item] = False
        category = int(catalogue.categories[item])
        taken[category] += 1
        if wish.diversity:
            worth[catalogue.categories == category] *= 1 - wish.diversity
        if taken[category] == wish.per_category:
            allowed[catalogue.categories == category] = False
    order = np.argsort([-(chances if wish.by == "chance" else amounts)[each.item] for each in chosen], kind="stable")
    return [chosen[place] for place in order]


def allowed_items(catalogue: Catalogue, wish: Wish, owned: np.ndarray) -> np.ndarray:
    """(V,) whether each item may be shown at all. Without a known price nothing fits a budget.

    Args:
        owned: (V,) whether the customer bought it before.
    """
    allowed = np.ones(len(catalogue), dtype=bool)
    if wish.in_stock is not None:
        allowed &= np.isin(catalogue.item_ids, list(wish.in_stock))
    allowed &= ~np.isin(catalogue.item_ids, list(wish.never))
    if wish.categories is not None:
        allowed &= np.array([each in wish.categories for each in catalogue.table["category"].to_pylist()], dtype=bool)
    if not wish.repeats:
        allowed &= ~(owned & bought_once(catalogue))
    if wish.budget is not None:
        allowed &= np.isfinite(catalogue.prices)
    return allowed


def bought_once(catalogue: Catalogue) -> np.ndarray:
    """(V,) whether hardly anybody who bought an item did so again; False of items that few have bought."""
    _, buyers, again = catalogue.sales.before[-1].T
    once: np.ndarray = (buyers >= BUYERS) & (again < BOUGHT_AGAIN * buyers)
    return once
