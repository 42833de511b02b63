"""Conversion from what applications told."""

import pytest

from demand.conversion import conversion_lead, conversions


def told(customer: str, version: int, shown: str, bought: str) -> dict:
    return {
        "customer_id": customer,
        "model": "demand",
        "version": version,
        "shown": list(shown),
        "bought": list(bought),
    }


def test_each_shown_item_counts_once_and_only_what_was_shown_counts_as_bought() -> None:
    found = conversions(
        [told("ann", 1, "abba", "ac"), told("ann", 1, "d", "d"), told("bob", 1, "ab", ""), told("cy", 2, "a", "a")]
    )

    assert sorted(found) == [("demand", 1), ("demand", 2)]
    assert found["demand", 1].shown.tolist() == [3, 2]
    assert found["demand", 1].bought.tolist() == [2, 0]
    assert found["demand", 1].rate == pytest.approx(2 / 5)


def test_a_lead_has_an_interval_over_customers() -> None:
    rows = [told(f"c{n}", 1 + n % 2, "abcd", "ab" if n % 2 else "a") for n in range(200)]
    found = conversions(rows)

    lead = conversion_lead(found["demand", 2], found["demand", 1])

    assert lead.mean == pytest.approx(0.25)
    assert lead.low == pytest.approx(0.25)  # all customers are alike
    mixed = conversions([*rows[:7], told("x", 2, "abcd", "")])
    lead = conversion_lead(mixed["demand", 2], mixed["demand", 1])
    assert lead.low < lead.mean < lead.high
