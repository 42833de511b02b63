"""What a card says a model cannot do follows from what the card says it learned from and how it did."""

import pyarrow as pa
import pytest

from demand.catalogue import Catalogue
from training.calibration import CUSTOMERS, sampled
from training.card import limits

CATALOGUE = Catalogue(pa.table({"item_id": ["a", "b", "c"], "orders": [5, 0, 7]}))
ROWS = {"orders": 40, "reviews": 3, "browsing": 9, "customers": 2, "quarantine": 0}
RELIABILITY = {"next_order": {"top20": {"ece": 0.0123}}}


def card(**changed: object) -> dict:
    slices = {"all": (500, 0.4), "3-9 orders": (120, 0.3), "new items": (99, 0.05)}
    quality = {name: {"customers": count, "ndcg@10": ndcg} for name, (count, ndcg) in slices.items()}
    return {
        "data": {"first_order": "2024-01-01T09:00:00Z", "rows": ROWS},
        "trained_before": "2024-05-04T00:00:00Z",
        "validated_before": "2024-06-01T00:00:00Z",
        "horizon_days": 28,
        "quality": {"next_order": quality, "horizon": quality},
        "calibration": {"reliability": RELIABILITY},
        "privacy": None,
        **changed,
    }


def test_limits_follow_from_the_card() -> None:
    assert limits(card(), CATALOGUE, refit=False) == [
        "1 of 3 items were in no order it learned from; their names alone tell.",
        "It learned from 123 days, so it has not met every season.",  # 31 + 29 + 31 + 30 + 3, less nine hours
        "It was judged on the 28 days before 2024-06-01T00:00:00Z; longer horizons, up to 91 days, were not judged, "
        "nor how long it stays as good.",
        "Whether its forecast intervals hold was not judged; those of departments were too narrow on The Complete "
        "Journey, those of items and categories were not (docs/uses.md).",
        "Figures for 'new items' are of 99 customers only.",
        "It is worst for 'new items': ndcg@10 0.050 in the next order, against 0.400 for all.",
        "The chances of the 20 items likeliest in a next order were off by 0.012 on average.",
    ]


@pytest.mark.parametrize(
    ("changed", "refit", "said"),
    [
        ({"data": {"rows": {**ROWS, "browsing": 0}}}, False, "The data held no browsing: it has not learned"),
        (
            {"data": {"rows": {**ROWS, "quarantine": 1234}}},
            False,
            "1,234 rows of the source were left out at the import",
        ),
        ({"data": {"first_order": "2023-01-01"}}, False, "It learned from 489 days, so it has met no season twice."),
        ({}, True, "All figures are of the model before it learned from the validation orders too."),
        ({"quality": {}}, False, "Too few customers ordered in the validation period to say how good it is."),
        ({"quality": {"next_order": card()["quality"]["next_order"]}}, False, "asked about the next order alone"),
        ({"privacy": {"epsilon": 8.0, "delta": 1e-5}}, False, "(epsilon 8, delta 1e-05) is promised of what training"),
    ],
)
def test_what_else_is_so_is_said(changed: dict, refit: bool, said: str) -> None:
    assert said in " ".join(limits(card(**changed), CATALOGUE, refit))


def test_chances_are_judged_by_others_than_those_fitted_to_where_there_are_enough() -> None:
    many = [str(number) for number in range(2 * CUSTOMERS)]

    assert set(sampled(many)).isdisjoint(sampled(many, other=True))
    assert len(sampled(many)) == len(sampled(many, other=True)) == CUSTOMERS
    assert sampled(many[:50], other=True) == sampled(many[:50]) == many[:50]
