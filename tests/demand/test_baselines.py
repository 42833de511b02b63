"""Baselines, against values worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest

from demand.baselines import global_top, personal_top, tifu_knn
from demand.catalogue import Catalogue
from demand.customer import Customer, Order
from demand.questions import Questions

CATALOGUE = Catalogue(pa.table({"item_id": ["a", "b", "c"], "name": ["a", "b", "c"]}))


def customer(*orders: str) -> Customer:
    ones = [(1.0,) * len(items) for items in orders]
    return Customer("", tuple(Order(day, tuple(items), ones[day], ones[day]) for day, items in enumerate(orders)))


def questions(asked: list[Customer], others: list[Customer]) -> Questions:
    return Questions(0, 28, asked, [], [], others)


def test_global_top_counts_orders_of_everyone() -> None:
    scores = global_top(questions([customer("ab")], [customer("b", "bc")]), CATALOGUE)

    assert scores.tolist() == [[1, 3, 1]]


def test_personal_top_ranks_own_counts_first_then_popularity() -> None:
    scores = personal_top(questions([customer("a", "ab")], [customer("c", "c", "c", "c")]), CATALOGUE)

    assert np.argsort(-scores[0]).tolist() == [0, 1, 2]
    assert scores[0, 0] > 2 > scores[0, 1] > 1 > scores[0, 2] > 0


def test_tifu_knn_decays_within_and_over_groups_and_blends_neighbours() -> None:
    asked, neighbour = customer("a", "b", "b"), customer("c")

    scores = tifu_knn(
        questions([asked], [neighbour]), CATALOGUE, group_size=2, within_decay=0.5, group_decay=0.1, own_share=0.75
    )

    # groups: (a), (b, b); b weighs (1 + .5) / 2 in the newest group, a weighs .1 in the older one; two groups
    own = np.array([0.1, 0.75, 0.0]) / 2
    assert scores[0] == pytest.approx(0.75 * own + 0.25 * np.array([0, 0, 1.0]))
