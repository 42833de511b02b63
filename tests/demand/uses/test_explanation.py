"""Why an item is expected, in sentences and events that were worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand.catalogue import Catalogue
from demand.customer import Browsing, Customer, Order, Review
from demand.moments import DAY, moment
from demand.record import LOOKED, ORDERED, RATED, Record
from demand.uses.explanation import Event, Explanation, Facts, events_of, telling, without

NOW = moment("2024-06-01")
CATALOGUE = Catalogue(
    pa.table(
        {
            "item_id": ["bread", "kettle", "milk", "tea"],
            "name": ["Bread", "Kettle", "Milk", "Tea"],
            "category": ["food", "house", "food", None],
            "orders": [50, 2, 90, 90],
        }
    )
)
KINDS = {"order": ORDERED, "browsing": LOOKED, "review": RATED}


def order(ago: float, items: str) -> Order:
    ones = (1.0,) * len(items.split())
    return Order(NOW - int(ago * DAY), tuple(items.split()), ones, ones)


def bought(*ago: float) -> Customer:
    return Customer("c", tuple(order(each, "milk") for each in ago))


def sentence(customer: Customer, item: str = "milk") -> str:
    return Facts.of(customer, NOW, CATALOGUE.index[item], CATALOGUE).sentence


@pytest.mark.parametrize(
    ("customer", "said"),
    [
        (bought(116, 103, 90, 77, 64, 51, 38, 25, 12), "bought 9 times, last 12 days ago, usually every 13 days"),
        (bought(30, 20, 1), "bought 3 times, last yesterday, usually every 14 days"),  # gaps of 10 and 19: 14.5
        (bought(2, 1, 0.1), "bought 3 times, last today, usually every day"),
        (bought(40, 12.9), "bought twice, last 12 days ago"),
        (bought(12), "bought once, 12 days ago"),
        (bought(), "never bought; number 1 of what all customers buy"),
    ],
)
def test_a_sentence_tells_how_often_when_and_in_what_gaps(customer: Customer, said: str) -> None:
    assert sentence(customer) == said


def test_looks_and_ratings_are_told_too() -> None:
    looks = (Browsing(NOW - 9 * DAY, "view", "kettle"), Browsing(NOW - 2 * DAY, "add_to_cart", "kettle"))
    customer = Customer("c", (), (*looks, Browsing(NOW - DAY, "search")), (Review(NOW - DAY, "kettle", 4),))

    assert sentence(customer, "kettle") == (
        "never bought; looked at 2 times, last 2 days ago; rated 4 of 5; number 4 of what all customers buy"
    )
    assert sentence(Customer("c", (), looks[:1]), "tea") == "never bought; number 1 of what all customers buy"


def test_the_numbers_of_a_sentence_are_there_by_themselves() -> None:
    assert Facts.of(bought(40, 25, 12), NOW, CATALOGUE.index["milk"], CATALOGUE) == Facts(
        times=3, days_since_last=12, usual_gap_days=14, looks=0, days_since_look=None, rating=None, sales_rank=1
    )


def test_the_latest_events_with_each_item_are_looked_at_first() -> None:
    customer = Customer(
        "c",
        (order(9, "milk"), order(8, "tea"), order(7, "milk bread"), order(6, "kettle")),
        (Browsing(NOW - 5 * DAY, "view", "tea"),),
        attributes={"age": "65+"},
    )
    milk_9, tea_8, milk_7, kettle, look, profile = events_of(customer)

    # The latest of all; the latest with milk (7 days ago) and with tea (the look); both's second latest; the rest.
    assert telling(customer, ["milk", "tea"], 10) == [look, milk_7, milk_9, tea_8, kettle]
    assert telling(customer, ["milk"], 2) == [look, milk_7]
    assert profile == Event("profile")


def test_the_strongest_events_are_named_and_none_without_effect() -> None:
    facts = Facts.of(bought(), NOW, 0, CATALOGUE)
    events = [Event("order", place) for place in range(5)]

    found = Explanation.of(0, facts, events, np.array([0.01, 0.0, -0.3, 0.2, 0.1]))
    assert [each.place for each in found.events] == [2, 3, 4]
    assert found.weights == (-0.3, 0.2, 0.1)
    assert Explanation.of(0, facts, events, np.zeros(5)).events == ()


histories = st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["milk", "milk bread", "nothing", "tea nothing"])))
touches = st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["milk", "kettle", "nothing"])))


@given(histories, touches, touches)
def test_a_record_without_an_event_is_that_of_a_customer_who_never_did_it(
    orders: list[tuple[int, str]], looks: list[tuple[int, str]], reviews: list[tuple[int, str]]
) -> None:
    customer = Customer(
        "c",
        tuple(order(ago, items) for ago, items in sorted(orders, reverse=True)),
        tuple(Browsing(NOW - ago * DAY, "view", item) for ago, item in sorted(looks, reverse=True)),
        tuple(Review(NOW - ago * DAY, item, 5) for ago, item in sorted(reviews, reverse=True)),
    )
    events = events_of(customer)

    found = Record.without_each(customer, CATALOGUE, [(KINDS[each.kind], each.place) for each in events])

    assert len(found) == len(events)
    for record, event in zip(found, events, strict=True):
        expected = Record.of(without(customer, [event]), CATALOGUE)
        for name, column in vars(expected).items():
            np.testing.assert_array_equal(getattr(record, name), column)
