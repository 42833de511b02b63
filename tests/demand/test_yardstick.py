"""Intervals, comparisons, slices and what recommendations are worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.bootstrap import interval, resampled_means
from demand.comparison import MODEL, Estimate, compare
from demand.customer import Review
from demand.metrics import METRICS, customer_metrics, ranking_metrics, top_k
from demand.slices import slices
from demand.value import bought, business_metrics, mean_ratings
from tests.demand.shops import CATALOGUE, basket, customer, questions

UNRATED = np.full(len(CATALOGUE), np.nan)
tables = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((12, 2)))


def test_an_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(3).normal(5, 2, (4000, 1))

    low, high = interval(resampled_means(values))[:, 0]

    error = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=error * 0.06)


def test_resampled_means_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random((50, 2))
    whole = resampled_means(values, 20)

    monkeypatch.setattr("demand.bootstrap._CELLS", 150)

    assert resampled_means(values, 20) == pytest.approx(whole)


@settings(max_examples=25)
@given(tables, st.floats(-3, 3), st.floats(0.1, 4))
def test_resampled_means_are_paired_and_move_with_the_values(values: np.ndarray, shift: float, scale: float) -> None:
    moved = np.column_stack([values[:, 0], values[:, 0] * scale + shift])

    means = resampled_means(moved, 50)

    assert means[:, 1] == pytest.approx(means[:, 0] * scale + shift)
    assert values[:, 0].min() - 1e-9 <= means[:, 0].min() <= means[:, 0].max() <= values[:, 0].max() + 1e-9


def test_a_comparison_gives_means_leads_and_their_intervals() -> None:
    truths = [np.array([row % 6]) for row in range(60)]
    right = np.array([[row % 6, (row + 1) % 6] for row in range(60)])
    wrong = (right + 2) % 6
    half = np.where(np.arange(60)[:, None] < 30, right, wrong)

    comparison = compare({MODEL: right, "wrong": wrong, "half": half, "same": right}, truths)

    assert comparison.customers == 60
    assert comparison.means["half"]["hit@10"] == 0.5
    assert comparison.means[MODEL] == ranking_metrics(right, truths)
    assert set(comparison.differences) == {"wrong", "half", "same"}
    lead = comparison.differences["half"]["recall@10"]
    assert lead.mean == 0.5
    assert 0.3 < lead.low < 0.45 < 0.55 < lead.high < 0.7
    assert comparison.differences["wrong"]["ndcg@10"].low == 1.0
    assert comparison.differences["same"]["ndcg@20"] == Estimate(0, 0, 0)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_metrics_are_shares_and_their_means_are_the_ranking_metrics(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    ranked = top_k(rng.random((rows, 40)), 20)
    truths = [rng.choice(40, int(rng.integers(1, 30)), replace=False) for _ in range(rows)]

    metrics = customer_metrics(ranked, truths)

    assert tuple(metrics) == METRICS
    assert all(((values >= 0) & (values <= 1)).all() for values in metrics.values())
    assert (metrics["recall@20"] >= metrics["recall@10"]).all()
    assert {name: values.mean() for name, values in metrics.items()} == ranking_metrics(ranked, truths)


def test_slices_are_by_history_items_and_demographics() -> None:
    short = customer("a", "a", "b", age="35-44")
    long = customer(*["c"] * 10)
    shop = questions([short, long], [customer("d")], truths=("abd", "ef"))

    found = slices(shop, shop.next_baskets, CATALOGUE)

    assert {name: each.rows.tolist() for name, each in found.items()} == {
        "3-9 orders": [0],
        "10-49 orders": [1],
        "repeat items": [0],
        "new items": [0, 1],
        "unseen items": [1],
        "with demographics": [0],
        "without demographics": [1],
    }
    assert [each.tolist() for each in found["repeat items"].truths] == [[0, 1]]
    assert [each.tolist() for each in found["new items"].truths] == [[3], [4, 5]]
    assert [each.tolist() for each in found["unseen items"].truths] == [[4, 5]]
    assert [each.tolist() for each in found["3-9 orders"].truths] == [[0, 1, 3]]


def test_conversion_counts_items_and_captured_counts_money() -> None:
    baskets = [basket("ab", (1.0, 9.0)), basket("c", (30.0,))]
    ranked = np.array([[1, 2], [4, 2]])

    metrics = business_metrics(ranked, baskets, UNRATED, ks=(1, 2))

    assert metrics == pytest.approx(
        {"conversion@1": 0.5, "captured@1": 9 / 40, "conversion@2": 0.5, "captured@2": 39 / 40}
    )


def test_ratings_of_recommendations_are_held_against_ratings_of_what_was_bought() -> None:
    liked = [Review(0, "a", 5), Review(1, "a", 4), Review(2, "b", 1), Review(3, "unknown", 1)]
    ratings = mean_ratings([customer("a", reviews=tuple(liked))], CATALOGUE)

    assert ratings[:2].tolist() == [4.5, 1.0]
    assert np.isnan(ratings[2:]).all()
    assert business_metrics(np.array([[0, 2, -1]]), [basket("b")], ratings, ks=(3,))["rating@3"] == 4.5
    assert bought([basket("bc", (2.0, 3.0))], ratings) == {"items": 2, "amount": 5.0, "rating": 1.0}


def test_a_shop_without_reviews_or_money_has_no_such_metrics() -> None:
    metrics = business_metrics(np.array([[0]]), [basket("a", (0.0,))], UNRATED, ks=(1,))

    assert metrics == {"conversion@1": 1.0}
    assert set(bought([basket("a")], UNRATED)) == {"items", "amount"}
