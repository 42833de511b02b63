"""Popularity, of everyone or of the customer."""

import numpy as np

from demand.baselines.problem import Problem


def global_top(problem: Problem) -> np.ndarray:
    """The number of orders that held the item, over all customers, the same for every customer."""
    counts = np.asarray(problem.counts.sum(0)).ravel()
    return np.broadcast_to(counts, (problem.asked, len(counts)))


def category_top(problem: Problem) -> np.ndarray:
    """The number of orders that held an item of the same category, the same for every customer; ties by the item's own
    popularity."""
    counts, categories = global_top(problem)[0], problem.catalogue.categories
    scores: np.ndarray = np.bincount(categories, counts)[categories] + counts / (counts.max() + 1)
    return np.broadcast_to(scores, (problem.asked, len(scores)))


def personal_top(problem: Problem) -> np.ndarray:
    """GP-TopFreq: the number of the customer's own orders that held the item, ties and the rest by popularity."""
    popularity = global_top(problem)
    scores: np.ndarray = problem.counts[: problem.asked].toarray() + popularity / (popularity.max() + 1)
    return scores
