"""A customer as the prompts see one: what was ordered, looked at and reviewed, and who the customer is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Order:
    """One order: equal-length columns of items (each at most once), quantities and amounts paid (line totals).

    Attributes:
        store: where it was bought, as far as that is known.
    """

    ts: int
    items: tuple[str, ...]
    quantities: tuple[float, ...]
    amounts: tuple[float, ...]
    store: str | None = None

    @property
    def amount(self) -> float:
        """Total paid, in currency units."""
        return sum(self.amounts)


@dataclass(frozen=True, slots=True)
class Browsing:
    """One look, search or touch without a purchase."""

    ts: int
    action: str
    item: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """One rating from 1 to 5, with or without words."""

    ts: int
    item: str
    rating: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Customer:
    """Everything known of a customer, each kind of event in time order."""

    customer_id: str
    orders: tuple[Order, ...] = ()
    browsing: tuple[Browsing, ...] = ()
    reviews: tuple[Review, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    def before(self, ts: int) -> "Customer":
        """The customer as known at a moment: events from it on are left out."""
        return replace(
            self,
            orders=tuple(order for order in self.orders if order.ts < ts),
            browsing=tuple(event for event in self.browsing if event.ts < ts),
            reviews=tuple(review for review in self.reviews if review.ts < ts),
        )

    @property
    def items(self) -> set[str]:
        """Every item id that is named."""
        named = {item for order in self.orders for item in order.items}
        named |= {event.item for event in self.browsing if event.item}
        return named | {review.item for review in self.reviews}


def merge_lines(ts: int, lines: "list[tuple[str, float, float]]", store: str | None = None) -> Order:
    """An order from (item, quantity, amount) lines: lines of the same item are added up, first mention first."""
    totals: dict[str, list[float]] = {}
    for item, quantity, amount in lines:
        total = totals.setdefault(item, [0.0, 0.0])
        total[0] += quantity
        total[1] += amount
    return Order(
        ts,
        tuple(totals),
        tuple(total[0] for total in totals.values()),
        tuple(total[1] for total in totals.values()),
        store,
    )
