"""What has changed with a customer, by dates that were worked out by hand."""

from demand.customer import Customer, Order
from demand.moments import DAY, moment
from demand.uses.relationship import change

NOW = moment("2024-06-01")


def customer(*orders: tuple[int, str, float]) -> Customer:
    """By how many days ago what was bought for how much."""
    return Customer(
        "c",
        tuple(
            Order(NOW - ago * DAY, tuple(items.split()), (1.0,) * len(items.split()), (spend,))
            for ago, items, spend in orders
        ),
    )


def test_a_customer_who_keeps_the_usual_pace_is_not_late() -> None:
    found = change(
        customer((35, "milk", 5), (28, "milk", 5), (21, "milk", 5), (14, "milk", 5), (7, "milk", 5)), NOW, 14
    )

    assert found.days_since_order == 7
    assert found.usual_gap_days == 7
    assert (found.spend, found.spend_before) == (10, 10)  # the days 14 and 7; 28 and 21
    assert not found.late
    assert found.missing == []


def test_what_is_overdue_is_named_the_most_overdue_first() -> None:
    both = tuple((ago, "milk bread", 4.0) for ago in (60, 50, 40))
    found = change(customer(*both, (35, "bread", 4), (25, "bread", 4)), NOW, 28)

    # Milk: every 10 days, the last time 40 days ago. Bread: after 10, 10, 5 and 10 days, the last time 25 days ago.
    assert found.missing == ["milk", "bread"]
    assert found.late


def test_who_ordered_once_or_never_has_nothing_usual() -> None:
    never = change(Customer("c"), NOW, 28)
    once = change(customer((100, "milk", 4)), NOW, 28)

    assert (never.days_since_order, never.usual_gap_days, never.spend, never.late) == (None, None, 0, False)
    assert (once.days_since_order, once.usual_gap_days, once.late, once.missing) == (100, None, False, [])


def test_what_happens_afterwards_is_not_seen() -> None:
    past = customer((20, "milk", 4), (10, "milk", 4))
    later = Customer("c", (*past.orders, Order(NOW, ("milk",), (1.0,), (99.0,))))

    assert change(later, NOW, 28) == change(past, NOW, 28)
