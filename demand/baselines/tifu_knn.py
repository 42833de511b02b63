"""TIFU-KNN: the customer's own purchases, the newer the weightier, blended with those of similar customers."""

import numpy as np
from scipy import sparse

from demand.baselines.problem import Problem

BLOCK = 512
"""Customers whose distances to all others are held at a time."""


def tifu_knn(
    problem: Problem,
    group_size: int = 7,
    within_decay: float = 0.9,
    group_decay: float = 0.6,
    neighbours: int = 300,
    own_share: float = 0.5,
) -> np.ndarray:
    """Temporal item frequency with nearest neighbours (Hu et al., SIGIR 2020, arXiv:2006.00556).

    A customer's orders fall into groups of `group_size` in a row (the oldest may be smaller); an item counts with a
    weight that decays within its group and over the groups. The score blends the customer's own vector with the mean
    of the nearest (Euclidean) ones.
    """
    orders = problem.orders[problem.lines.rows]
    vectors = problem.matrix(decayed_weights(problem.lines.ages, orders, group_size, within_decay, group_decay))
    own = vectors[: problem.asked]
    nearest = min(neighbours, vectors.shape[0] - 1)
    scores: np.ndarray = own_share * own.toarray()
    if nearest:
        scores += (1 - own_share) * (_mean_of_nearest(vectors, problem.asked, nearest) @ vectors).toarray()
    return scores


def decayed_weights(
    ages: np.ndarray, orders: np.ndarray, group_size: int, within_decay: float, group_decay: float
) -> np.ndarray:
    """The weight of an order that `ages` newer ones follow, for a customer with so many `orders`; equal shapes."""
    group, place = ages // group_size, ages % group_size
    groups = -(-orders // group_size)
    sizes = np.minimum(orders - group * group_size, group_size)
    weights: np.ndarray = group_decay**group * within_decay**place / sizes / groups
    return weights


def _mean_of_nearest(vectors: sparse.csr_matrix, asked: int, nearest: int) -> sparse.csr_matrix:
    """(asked, everyone): 1/nearest at each customer's nearest others, never the customer."""
    squares = np.asarray(vectors.multiply(vectors).sum(1)).ravel()
    chosen = np.empty((asked, nearest), dtype=np.int64)
    for start in range(0, asked, BLOCK):
        rows = np.arange(start, min(start + BLOCK, asked))
        products = vectors @ vectors[rows].toarray().T
        distances = (squares[:, None] - 2 * products).T  # the row's own square shifts a row as a whole
        distances[np.arange(len(rows)), rows] = np.inf
        chosen[rows] = np.argpartition(distances, nearest - 1, axis=1)[:, :nearest]
    ends = np.arange(0, chosen.size + 1, nearest)
    return sparse.csr_matrix((np.full(chosen.size, 1 / nearest), chosen.ravel(), ends), (asked, vectors.shape[0]))
