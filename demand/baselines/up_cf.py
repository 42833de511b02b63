"""UP-CF@r: what similar customers have bought lately."""

import numpy as np

from demand.baselines.problem import Problem

BLOCK = 512
"""Customers whose similarities to all others are held at a time."""


def up_cf(problem: Problem, recency: int | None = 40, alpha: float = 0.25, locality: int = 5) -> np.ndarray:
    """User popularity-based collaborative filtering (Faggioli, Polato & Aiolli, UMAP 2020).

    Customers weigh by the asymmetric cosine of the sets of items they ever bought, shared / (own^alpha *
    other^(1 - alpha)), to the power of `locality`; the customer is similar to itself with 1. They vote with their
    popularity of the item: the share of their last `recency` orders (None: all) that held it.
    """
    window = problem.orders if recency is None else np.minimum(problem.orders, recency)
    lines = problem.lines
    shares = np.where(lines.ages < window[lines.rows], 1 / window[lines.rows], 0.0)
    popularity = problem.matrix(shares)
    bought = problem.counts.sign()
    sizes = np.maximum(np.asarray(bought.sum(1)).ravel(), 1)
    scores = np.empty((problem.asked, len(problem.catalogue)))
    for start in range(0, problem.asked, BLOCK):
        rows = slice(start, min(start + BLOCK, problem.asked))
        shared = bought @ bought[rows].toarray().T
        similarity = shared / (sizes[None, rows] ** alpha * sizes[:, None] ** (1 - alpha))
        scores[rows] = (popularity.T @ similarity**locality).T
    return scores
