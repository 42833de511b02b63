"""Why an item is expected: the customer's events that move its chance most, and a sentence about the item."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.uses.relationship import pace

Kind = Literal["order", "browsing", "review", "profile"]
NAMED = 3
"""Events of an item that are named, at most."""
BEST_SELLERS = 100
"""Items that are said to sell well."""


@dataclass(frozen=True)
class Event:
    """One thing that a customer did, or who the customer is.

    Attributes:
        place: among the customer's events of this kind.
        ts: microseconds; None of the profile.
        items: what it was about.
    """

    kind: Kind
    place: int = 0
    ts: int | None = None
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a customer had to do with an item, and how it sells.

    Attributes:
        times: orders with it.
        days_since_last: whole days since the last of these; None where there is none.
        usual_gap_days: whole days between these, the median; None below three.
        looks: how often it was looked at, and touched in other ways short of buying.
        days_since_look: whole days since the last time.
        rating: the last one, 1 to 5.
        sales_rank: 1 of what is in most orders of all customers.
    """

    times: int
    days_since_last: int | None
    usual_gap_days: int | None
    looks: int
    days_since_look: int | None
    rating: int | None
    sales_rank: int

    @classmethod
    def of(cls, customer: Customer, as_of: int, item: int, catalogue: Catalogue) -> "Facts":
        """Of a customer whose events all lie before a moment, and an item by its index."""
        name = catalogue.item_ids[item]
        bought = [order.ts for order in customer.orders if name in order.items]
        looked = [each.ts for each in customer.browsing if each.item == name]
        since, gap = pace(bought, as_of)
        since_look, _ = pace(looked, as_of)
        return cls(
            len(bought),
            None if since is None else int(since),
            None if gap is None else round(gap),
            len(looked),
            None if since_look is None else int(since_look),
            next((each.rating for each in reversed(customer.reviews) if each.item == name), None),
            int((catalogue.orders > catalogue.orders[item]).sum()) + 1,
        )

    @property
    def sentence(self) -> str:
        """As one would tell it in a shop: 'bought 9 times, last 12 days ago, usually every 13 days'."""
        said = [self._bought(), *self._interest()]
        if not self.times and self.sales_rank <= BEST_SELLERS:
            said.append(f"number {self.sales_rank} of what all customers buy")
        return "; ".join(said)

    def _bought(self) -> str:
        if self.days_since_last is None:
            return "never bought"
        ago = _ago(self.days_since_last)
        if self.times == 1:
            return f"bought once, {ago}"
        often = "twice" if self.times == 2 else f"{self.times} times"
        usual = "" if self.usual_gap_days is None else f", usually {_every(self.usual_gap_days)}"
        return f"bought {often}, last {ago}{usual}"

    def _interest(self) -> Iterator[str]:
        if self.days_since_look is not None:
            ago = _ago(self.days_since_look)
            yield f"looked at {ago}" if self.looks == 1 else f"looked at {self.looks} times, last {ago}"
        if self.rating is not None:
            yield f"rated {self.rating} of 5"


@dataclass(frozen=True)
class Explanation:
    """Why an item has its chance.

    Attributes:
        events: strongest first, at most NAMED.
        weights: of each, by how much the chance is higher with it than without it.
    """

    item: int
    facts: Facts
    events: tuple[Event, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, item: int, facts: Facts, events: Sequence[Event], weights: np.ndarray) -> "Explanation":
        """From the weights of all events that were looked at, (E,); those without any effect are not named."""
        strongest = [place for place in np.argsort(-np.abs(weights), kind="stable")[:NAMED] if weights[place]]
        return cls(
            item,
            facts,
            tuple(events[place] for place in strongest),
            tuple(float(weights[place]) for place in strongest),
        )


def events_of(customer: Customer) -> list[Event]:
    """All of a customer's events that can be taken away, each kind in time order; the profile last."""
    return [
        *(Event("order", place, each.ts, each.items) for place, each in enumerate(customer.orders)),
        *(_touch("browsing", place, each.ts, each.item) for place, each in enumerate(customer.browsing)),
        *(_touch("review", place, each.ts, each.item) for place, each in enumerate(customer.reviews)),
        *([Event("profile")] if customer.attributes else []),
    ]


def without(customer: Customer, events: Collection[Event]) -> Customer:
    """The customer as if some events had never been."""
    gone = {(each.kind, each.place) for each in events}
    return replace(
        customer,
        orders=tuple(each for place, each in enumerate(customer.orders) if ("order", place) not in gone),
        browsing=tuple(each for place, each in enumerate(customer.browsing) if ("browsing", place) not in gone),
        reviews=tuple(each for place, each in enumerate(customer.reviews) if ("review", place) not in gone),
        attributes={} if ("profile", 0) in gone else customer.attributes,
    )


def telling(customer: Customer, wanted: Sequence[str], most: int) -> list[Event]:
    """The events, at most so many, among which those are looked for that move some items: the latest with each item,
    then the second latest of each, and so on, then others, the latest first. The profile is not among them."""
    latest = sorted((each for each in events_of(customer) if each.ts is not None), key=_time, reverse=True)
    of_items: dict[str, list[Event]] = {item: [] for item in wanted}
    for event in latest:
        for item in event.items:
            if item in of_items:
                of_items[item].append(event)
    in_turn = (event for each in zip_longest(latest[:1], *of_items.values()) for event in each if event)
    return list(dict.fromkeys([*in_turn, *latest]))[:most]


def _time(event: Event) -> int:
    return event.ts or 0


def _touch(kind: Kind, place: int, ts: int, item: str | None) -> Event:
    return Event(kind, place, ts, (item,) if item else ())


def _ago(days: int) -> str:
    return ("today", "yesterday")[days] if days < 2 else f"{days} days ago"


def _every(days: int) -> str:
    return "every day" if days < 2 else f"every {days} days"
