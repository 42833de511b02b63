"""What practitioners would otherwise use: popularity, the customer's own favourites, and TIFU-KNN.

All score (R, V): a row a customer asked about, a column a catalogue item, higher is likelier.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.questions import Questions


def global_top(questions: Questions, catalogue: Catalogue) -> np.ndarray:
    """The number of orders that held the item, over all customers, the same for every customer."""
    counts = _counts(questions.customers + questions.others, catalogue).sum(0)
    return np.broadcast_to(np.asarray(counts).ravel(), (len(questions.customers), len(catalogue)))


def personal_top(questions: Questions, catalogue: Catalogue) -> np.ndarray:
    """GP-TopFreq: the number of the customer's own orders that held the item, ties and the rest by popularity."""
    popularity = global_top(questions, catalogue)
    scores: np.ndarray = _counts(questions.customers, catalogue).toarray() + popularity / (popularity.max() + 1)
    return scores


def tifu_knn(
    questions: Questions,
    catalogue: Catalogue,
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
    everyone = questions.customers + questions.others
    weights = [_decayed_weights(len(each.orders), group_size, within_decay, group_decay) for each in everyone]
    vectors = _counts(everyone, catalogue, weights)
    own = vectors[: len(questions.customers)]
    squares = np.asarray(vectors.multiply(vectors).sum(1)).ravel()
    distances = squares - 2 * (own @ vectors.T).toarray()  # the row's own square shifts a row as a whole
    np.fill_diagonal(distances, np.inf)
    nearest = min(neighbours, len(everyone) - 1)
    chosen = (
        np.argpartition(distances, nearest - 1, axis=1)[:, :nearest] if nearest else np.zeros((len(own.indptr) - 1, 0))
    )
    picks = sparse.csr_matrix(
        (np.full(chosen.size, 1 / max(nearest, 1)), chosen.ravel(), np.arange(0, chosen.size + 1, max(nearest, 1))),
        shape=distances.shape,
    )
    scores: np.ndarray = own_share * own.toarray() + (1 - own_share) * (picks @ vectors).toarray()
    return scores


BASELINES: dict[str, Callable[[Questions, Catalogue], np.ndarray]] = {
    "global-top": global_top,
    "personal-top": personal_top,
    "tifu-knn": tifu_knn,
}


def _counts(
    customers: Sequence[Customer], catalogue: Catalogue, weights: Sequence[np.ndarray] | None = None
) -> sparse.csr_matrix:
    """(customers, V): how many orders held each item, each order counted with its weight."""
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, customer in enumerate(customers):
        for position, order in enumerate(customer.orders):
            known = [catalogue.index[item] for item in order.items if item in catalogue.index]
            rows.extend([row] * len(known))
            columns.extend(known)
            values.extend([1.0 if weights is None else float(weights[row][position])] * len(known))
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(customers), len(catalogue)))


def _decayed_weights(orders: int, group_size: int, within_decay: float, group_decay: float) -> np.ndarray:
    """The weight of each of a customer's orders, oldest first."""
    age = np.arange(orders)[::-1]
    group, place = age // group_size, age % group_size
    sizes = np.bincount(group, minlength=1)
    return group_decay**group * within_decay**place / sizes[group] / len(sizes)
