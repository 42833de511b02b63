"""Parts of an evaluation: kinds of customers, and kinds of items among what they bought."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.questions import Basket, Questions

HISTORIES = {"1-2 orders": (1, 2), "3-9 orders": (3, 9), "10-49 orders": (10, 49), "50+ orders": (50, float("inf"))}
"""Slices by the number of orders before the cutoff: name to the fewest and the most."""


@dataclass(frozen=True)
class Slice:
    """Some rows of an evaluation, with the truth that counts for them.

    Attributes:
        rows: indices of the customers asked about, at least one.
        truths: for each row the item indices, at least one.
    """

    rows: np.ndarray
    truths: list[np.ndarray]


def slices(questions: Questions, baskets: Sequence[Basket], catalogue: Catalogue) -> dict[str, Slice]:
    """The slices that have customers, by name.

    By history length; "repeat items" and "new items" (truth restricted to what this customer had bought before, or had
    not); "unseen items" (nobody had bought them before the cutoff); with and without demographics.

    Args:
        baskets: what each customer asked about bought, one of the two questions.
    """
    own = [_known(customer, catalogue) for customer in questions.customers]
    sold = np.unique(np.concatenate([*own, *(_known(other, catalogue) for other in questions.others)]))
    repeats = [np.isin(basket.items, mine) for basket, mine in zip(baskets, own, strict=True)]
    orders = np.array([len(each.orders) for each in questions.customers])
    known = np.array([bool(each.attributes) for each in questions.customers])
    found = {
        **{name: _of_customers(baskets, (orders >= low) & (orders <= high)) for name, (low, high) in HISTORIES.items()},
        "repeat items": _of_items(baskets, repeats),
        "new items": _of_items(baskets, [~each for each in repeats]),
        "unseen items": _of_items(baskets, [~np.isin(basket.items, sold) for basket in baskets]),
        "with demographics": _of_customers(baskets, known),
        "without demographics": _of_customers(baskets, ~known),
    }
    return {name: each for name, each in found.items() if each is not None}


def _known(customer: Customer, catalogue: Catalogue) -> np.ndarray:
    items = {item for order in customer.orders for item in order.items}
    return np.array([catalogue.index[item] for item in items if item in catalogue.index], dtype=np.int64)


def _of_customers(baskets: Sequence[Basket], wanted: np.ndarray) -> Slice | None:
    return _of_items(baskets, [np.full(len(each.items), kept) for each, kept in zip(baskets, wanted, strict=True)])


def _of_items(baskets: Sequence[Basket], kept: Sequence[np.ndarray]) -> Slice | None:
    rows = [row for row, each in enumerate(kept) if each.any()]
    return Slice(np.array(rows), [baskets[row].items[kept[row]] for row in rows]) if rows else None
