"""Ranking metrics, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.metrics import hits_of, long_ideal_metrics, met, ranking_metrics, top_k


def test_values_worked_out_by_hand() -> None:
    ranked = np.array([[3, 1, 4], [0, 2, 5]])
    truths = [np.array([1, 9]), np.array([0])]

    metrics = ranking_metrics(ranked, truths, ks=(1, 3))

    ideal_of_two = 1 + 1 / np.log2(3)
    assert metrics["recall@1"] == pytest.approx((0 + 1) / 2)
    assert metrics["recall@3"] == pytest.approx((1 / 2 + 1) / 2)
    assert metrics["ndcg@1"] == pytest.approx((0 + 1) / 2)
    assert metrics["ndcg@3"] == pytest.approx(((1 / np.log2(3)) / ideal_of_two + 1) / 2)
    assert metrics["hit@10"] == 1.0


def test_an_ideal_may_be_longer_than_the_ranking() -> None:
    ranked = np.array([[0, 20, 1, *range(21, 28)], [5, *range(20, 29)]])
    truths = [np.arange(12), np.array([5])]

    metrics = long_ideal_metrics(ranked, truths)

    assert metrics["precision@10"].tolist() == [0.2, 0.1]
    assert metrics["recall@10"].tolist() == [2 / 12, 1]
    ideal_of_twelve = sum(1 / np.log2(rank + 1) for rank in range(1, 13))
    assert metrics["ndcg@10"] == pytest.approx([(1 + 1 / 2) / ideal_of_twelve, 1])


def test_a_perfect_ranking_scores_one() -> None:
    metrics = ranking_metrics(np.array([[2, 0, 1]]), [np.array([0, 2])], ks=(2,))

    assert metrics["recall@2"] == metrics["ndcg@2"] == 1.0


def test_top_k_is_best_first_and_breaks_ties_by_index() -> None:
    assert top_k(np.array([[0.1, 0.9, 0.5, 0.9, 0.5]]), 3).tolist() == [[1, 3, 2]]


def test_top_k_of_a_small_catalogue_is_the_whole_catalogue() -> None:
    assert top_k(np.array([[0.1, 0.2]]), 20).tolist() == [[1, 0]]


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_all_rows_at_once_are_the_rows_one_by_one(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    ranked = np.array([rng.permutation(np.arange(-1, 12))[:5] for _ in range(rows)])
    truths = [rng.choice(12, int(rng.integers(0, 9)), replace=False) for _ in range(rows)]
    pairs = list(zip(ranked, truths, strict=True))

    assert hits_of(ranked, truths).tolist() == [np.isin(row, truth).tolist() for row, truth in pairs]
    assert met(truths, ranked).tolist() == [item in row for row, truth in pairs for item in truth]
