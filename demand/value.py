"""What recommendations are worth to a shop: how many are bought, how much of the money they meet, how liked."""

from collections.abc import Sequence

import numpy as np

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.metrics import hits_of, met
from demand.questions import Basket

CUTS = (10, 20)


def business_metrics(
    ranked: np.ndarray, baskets: Sequence[Basket], ratings: np.ndarray, ks: Sequence[int] = CUTS
) -> dict[str, float]:
    """conversion@k, captured@k and rating@k of recommendations.

    Args:
        ranked: (R, K) item indices, best first; -1 is a recommendation of nothing.
        baskets: what each customer bought.
        ratings: (V,) each item's mean rating, NaN where nobody rated it.

    Returns:
        conversion@k: the share of k recommended items that were bought (precision@k), the mean over customers.
        captured@k: of all that was spent, by all customers together, the share spent on items among their first k;
            absent where nothing was spent.
        rating@k: the mean rating of the rated items among the first k; absent where none is rated.
    """
    truths = [basket.items for basket in baskets]
    hits = hits_of(ranked, truths)
    amounts = np.concatenate([basket.amounts for basket in baskets])
    rated = np.where(ranked >= 0, ratings[ranked], np.nan)
    metrics: dict[str, float] = {}
    for k in ks:
        metrics[f"conversion@{k}"] = float(hits[:, :k].mean())
        if amounts.any():
            metrics[f"captured@{k}"] = float(amounts[met(truths, ranked[:, :k])].sum() / amounts.sum())
        if not np.isnan(rated[:, :k]).all():
            metrics[f"rating@{k}"] = float(np.nanmean(rated[:, :k]))
    return metrics


def bought(baskets: Sequence[Basket], ratings: np.ndarray) -> dict[str, float]:
    """What was really bought, to hold business metrics against: means over customers of "items" and "amount", and the
    mean "rating" of the rated items, absent where none is rated."""
    facts = {
        "items": float(np.mean([len(basket.items) for basket in baskets])),
        "amount": float(np.mean([basket.amounts.sum() for basket in baskets])),
    }
    rated = ratings[np.concatenate([basket.items for basket in baskets])]
    if not np.isnan(rated).all():
        facts["rating"] = float(np.nanmean(rated))
    return facts


def mean_ratings(customers: Sequence[Customer], catalogue: Catalogue) -> np.ndarray:
    """(V,) the mean of each item's ratings in these histories, from 1 to 5; NaN where nobody rated it."""
    reviews = [
        (catalogue.index[each.item], each.rating)
        for customer in customers
        for each in customer.reviews
        if each.item in catalogue.index
    ]
    items, ratings = np.array(reviews, dtype=np.int64).reshape(-1, 2).T
    counts = np.bincount(items, minlength=len(catalogue))
    sums = np.bincount(items, ratings, minlength=len(catalogue))
    means: np.ndarray = np.divide(sums, counts, out=np.full(len(catalogue), np.nan), where=counts > 0)
    return means
