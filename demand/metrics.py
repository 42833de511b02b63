"""Ranking metrics with binary relevance (Järvelin & Kekäläinen, 2002), for each customer and averaged."""

from collections.abc import Sequence

import numpy as np

METRICS = ("recall@10", "ndcg@10", "recall@20", "ndcg@20", "hit@10")
"""What every comparison reports, in this order."""


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k highest scores of each row, best first; equal scores in index order. (R, V) -> (R, k)."""
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        threshold = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
        scores = np.where(scores >= threshold, scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def hits_of(ranked: np.ndarray, truths: Sequence[np.ndarray]) -> np.ndarray:
    """1.0 where a ranked item is among the row's truth, else 0.0; -1 never is. (R, K) -> (R, K)."""
    hits = np.isin(_pairs(list(ranked)), _pairs(truths)).reshape(ranked.shape) & (ranked >= 0)
    return hits.astype(np.float64)


def met(truths: Sequence[np.ndarray], ranked: np.ndarray) -> np.ndarray:
    """Which items of the truths, put end to end, are among their row's ranked ones. Booleans."""
    return np.isin(_pairs(truths), _pairs(list(ranked)))


def _pairs(rows: Sequence[np.ndarray]) -> np.ndarray:
    """One number for each row's item, so that all rows are looked up at once instead of one by one."""
    owners = np.repeat(np.arange(len(rows), dtype=np.int64), [len(row) for row in rows])
    return (owners << 32) + np.concatenate([*rows, np.zeros(0, dtype=np.int64)]).astype(np.int64)


def customer_metrics(
    ranked: np.ndarray, truths: Sequence[np.ndarray], ks: Sequence[int] = (10, 20)
) -> dict[str, np.ndarray]:
    """recall@k, ndcg@k for each k and hit@10 of each row, (R,) each.

    Args:
        ranked: (R, K) item indices, best first, K >= max(ks) or the whole catalogue; -1 is a recommendation of nothing.
        truths: for each row the indices of the items really bought, at least one, without repeats.

    Returns:
        Shares between 0 and 1. recall@k divides by all items bought; the ideal of ndcg@k has min(k, bought) hits.
    """
    hits = hits_of(ranked, truths)
    bought = np.array([len(truth) for truth in truths])
    discounts = 1 / np.log2(np.arange(2, max(ks) + 2))
    ideal = np.cumsum(discounts)
    metrics: dict[str, np.ndarray] = {}
    for k in ks:
        gain = hits[:, :k] @ discounts[: hits[:, :k].shape[1]]
        metrics[f"recall@{k}"] = hits[:, :k].sum(1) / bought
        metrics[f"ndcg@{k}"] = gain / ideal[np.minimum(bought, k) - 1]
    metrics["hit@10"] = (hits[:, :10].sum(1) > 0).astype(np.float64)
    return metrics


def long_ideal_metrics(ranked: np.ndarray, truths: Sequence[np.ndarray], k: int = 10) -> dict[str, np.ndarray]:
    """precision@k, recall@k and ndcg@k of each row, (R,) each, as next-basket papers count them.

    The ideal of ndcg@k has as many hits as items were bought, more than k where more than k were: no ranking of k items
    then reaches 1. Otherwise as `customer_metrics`.
    """
    hits = hits_of(ranked, truths)[:, :k]
    bought = np.array([len(truth) for truth in truths])
    discounts = 1 / np.log2(np.arange(2, max(bought.max(initial=0), k) + 2))
    return {
        f"precision@{k}": hits.sum(1) / k,
        f"recall@{k}": hits.sum(1) / bought,
        f"ndcg@{k}": hits @ discounts[: hits.shape[1]] / np.cumsum(discounts)[bought - 1],
    }


def ranking_metrics(ranked: np.ndarray, truths: Sequence[np.ndarray], ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """The means of `customer_metrics` over rows."""
    return {name: float(values.mean()) for name, values in customer_metrics(ranked, truths, ks).items()}
