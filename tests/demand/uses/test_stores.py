"""What is expected of customers falls to the stores where they go, and adds up."""

import numpy as np
import pytest

from demand.catalogue import Catalogue
from demand.customer import Customer, Order
from demand.moments import DAY, moment
from demand.questions import Question
from demand.uses.outlook import Outlook
from demand.uses.stores import HALF_LIFE_DAYS, UNKNOWN, Placed, stores_of
from demand.uses.supply import Expected

AS_OF = moment("2024-06-01")


def outlook(catalogue: Catalogue, *customers: Customer) -> Outlook:
    purchases = np.random.default_rng(len(customers)).random((len(customers), len(catalogue)))
    questions = [Question(each, AS_OF, 28) for each in customers]
    return Outlook(catalogue, questions, np.ones(len(customers)), purchases, purchases / 9, purchases)


def buyer(name: str, *orders: tuple[float, str | None]) -> Customer:
    """Of orders some days ago in a store."""
    return Customer(name, tuple(Order(AS_OF - int(ago * DAY), (), (), (), store) for ago, store in orders))


def test_purchases_fall_to_stores_as_orders_did_with_one_more_of_everybodys(catalogue: Catalogue) -> None:
    old = HALF_LIFE_DAYS
    asked = outlook(catalogue, buyer("a", (0, "north"), (old, "south")), buyer("b", (0, "north")), buyer("new"))
    a, b, new = Expected.each(asked).units

    found = Placed.of(asked).among(["north", "south", "closed"])

    north, south = 2 / 2.5, 0.5 / 2.5  # of all orders, the old one counting half
    assert found.units[0] == pytest.approx((1 + north) / 2.5 * a + (1 + north) / 2 * b + north * new)
    assert found.units[1] == pytest.approx((0.5 + south) / 2.5 * a + south / 2 * b + south * new)
    assert not found.units[2].any()


def test_stores_and_parts_of_the_customers_add_up(catalogue: Catalogue) -> None:
    customers = [buyer("a", (3, "north"), (9, "south")), buyer("b", (1, "east"), (8, None)), buyer("c", (2, "north"))]
    together = outlook(catalogue, *customers)
    names = ("questions", "orders", "rates", "chances", "purchases")
    parts = [
        Outlook(catalogue, *(getattr(together, name)[rows] for name in names)) for rows in (slice(0, 2), slice(2, 3))
    ]
    stores = ["east", "north", "south", UNKNOWN]

    assert stores_of(customers) == sorted(stores)
    found = Placed.total(Placed.of(each) for each in parts).among(stores)

    np.testing.assert_allclose(found.parts, Placed.of(together).among(stores).parts)
    np.testing.assert_allclose(found.parts.sum(1), Expected.of(together).parts)


def test_where_stores_do_not_matter_there_is_one(catalogue: Catalogue) -> None:
    ancient = buyer("c", (1e6, "north"))
    for customers in ([buyer("a", (3, "north")), buyer("b", (1, None))], [buyer("new")], [ancient]):
        asked = outlook(catalogue, *customers)

        found = Placed.of(asked, split=False).among([UNKNOWN])

        np.testing.assert_allclose(found.parts[:, 0], Expected.of(asked).parts)
