"""Ranking metrics with binary relevance (Järvelin & Kekäläinen, 2002), averaged over customers."""

from collections.abc import Sequence

import numpy as np


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k highest scores of each row, best first; equal scores in index order. (R, V) -> (R, k)."""
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        threshold = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
        scores = np.where(scores >= threshold, scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def ranking_metrics(ranked: np.ndarray, truths: Sequence[np.ndarray], ks: Sequence[int] = (10, 20)) -> dict[str, float]:
    """recall@k, ndcg@k for each k and hit@10, means over rows.

    Args:
        ranked: (R, K) item indices, best first, K >= max(ks) or the whole catalogue.
        truths: for each row the indices of the items really bought, at least one, without repeats.

    Returns:
        Shares between 0 and 1. recall@k divides by all items bought; the ideal of ndcg@k has min(k, bought) hits.
    """
    hits = np.array([np.isin(row, truth) for row, truth in zip(ranked, truths, strict=True)], dtype=np.float64)
    hits = hits.reshape(len(truths), -1)
    bought = np.array([len(truth) for truth in truths])
    discounts = 1 / np.log2(np.arange(2, max(ks) + 2))
    ideal = np.cumsum(discounts)
    metrics: dict[str, float] = {}
    for k in ks:
        gain = hits[:, :k] @ discounts[: hits[:, :k].shape[1]]
        metrics[f"recall@{k}"] = float((hits[:, :k].sum(1) / bought).mean())
        metrics[f"ndcg@{k}"] = float((gain / ideal[np.minimum(bought, k) - 1]).mean())
    metrics["hit@10"] = float((hits[:, :10].sum(1) > 0).mean())
    return metrics
