"""Customers and questions small enough to work out by hand."""

import numpy as np
import pyarrow as pa

from demand.catalogue import Catalogue
from demand.customer import Customer, Order, Review
from demand.questions import Basket, Questions

CATALOGUE = Catalogue(pa.table({"item_id": list("abcdef"), "name": list("ABCDEF"), "category": [None] * 6}))


def customer(*orders: str, name: str = "", age: str = "", reviews: tuple[Review, ...] = ()) -> Customer:
    """Orders given as the letters of their items, one a day from day 0."""
    ones = [(1.0,) * len(items) for items in orders]
    return Customer(
        name,
        tuple(Order(day, tuple(items), ones[day], ones[day]) for day, items in enumerate(orders)),
        reviews=reviews,
        attributes={"age": age} if age else {},
    )


def basket(items: str, amounts: tuple[float, ...] | None = None) -> Basket:
    """What was bought, one of each."""
    indices = np.array([CATALOGUE.index[item] for item in items], dtype=np.int64)
    return Basket(indices, np.ones(len(items)), np.array(amounts or (1.0,) * len(items)))


def questions(asked: list[Customer], others: list[Customer], truths: tuple[str, ...] = ()) -> Questions:
    """Customers asked about, what they then bought in both windows, and others."""
    baskets = [basket(each) for each in truths]
    return Questions(0, 28, asked, baskets, baskets, others)
