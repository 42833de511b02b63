"""Baselines, against values worked out by hand."""

from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest

from demand.baselines import BASELINES, named
from demand.baselines.als import implicit_als
from demand.baselines.baseline import Baseline
from demand.baselines.popularity import category_top, global_top, personal_top
from demand.baselines.problem import Problem
from demand.baselines.tifu_knn import tifu_knn
from demand.baselines.up_cf import up_cf
from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.errors import SettingsError
from demand.questions import HORIZON, NEXT
from tests.demand.shops import CATALOGUE, customer, questions


def problem(asked: list[Customer], others: list[Customer]) -> Problem:
    return Problem(questions(asked, others), CATALOGUE)


def test_global_top_counts_orders_of_everyone() -> None:
    scores = global_top(problem([customer("ab")], [customer("b", "bc")]))

    assert scores.tolist() == [[1, 3, 1, 0, 0, 0]]


def test_category_top_counts_orders_of_the_category_then_of_the_item() -> None:
    shop = problem([customer("ab")], [customer("b", "bc")])
    categories = pa.array(["x", "y", "x", "y", None, "x"])
    table = CATALOGUE.table.drop(["category"]).append_column("category", categories)

    scores = category_top(Problem(shop.questions, Catalogue(table)))

    assert scores.tolist() == [[2.25, 3.75, 2.25, 3, 0, 2]]


def test_personal_top_ranks_own_counts_first_then_popularity() -> None:
    scores = personal_top(problem([customer("a", "ab")], [customer("c", "c", "c", "c")]))

    assert np.argsort(-scores[0], kind="stable").tolist()[:3] == [0, 1, 2]
    assert scores[0, 0] > 2 > scores[0, 1] > 1 > scores[0, 2] > 0


def test_tifu_knn_decays_within_and_over_groups_and_blends_neighbours() -> None:
    asked, neighbour = customer("a", "b", "b"), customer("c")

    scores = tifu_knn(problem([asked], [neighbour]), group_size=2, within_decay=0.5, group_decay=0.1, own_share=0.75)

    # groups: (a), (b, b); b weighs (1 + .5) / 2 in the newest group, a weighs .1 in the older one; two groups
    own = np.array([0.1, 0.75, 0.0]) / 2
    assert scores[0, :3] == pytest.approx(0.75 * own + 0.25 * np.array([0, 0, 1.0]))


def test_tifu_knn_takes_the_nearest_and_not_the_customer() -> None:
    asked = customer("a", "ab")

    scores = tifu_knn(problem([asked], [customer("ef", "ef"), customer("abc", "abc")]), neighbours=1, own_share=0)

    assert scores[0, 2] > 0
    assert scores[0, 4] == scores[0, 5] == 0


def test_up_cf_votes_by_asymmetric_similarity_with_what_was_bought_lately() -> None:
    asked, neighbour = customer("a", "ab"), customer("e", "bcd", "b")

    scores = up_cf(problem([asked], [neighbour]), recency=2, alpha=0.25, locality=3)

    # sets {a, b} and {b, c, d, e} share one item: 1 / (2 ** .25 * 4 ** .75); the last two orders count, half each
    similarity = (1 / (2**0.25 * 4**0.75)) ** 3
    own, other = np.array([1, 0.5, 0, 0, 0, 0]), np.array([0, 1, 0.5, 0.5, 0, 0])
    assert scores[0] == pytest.approx(own + similarity * other)


def test_up_cf_without_a_window_counts_every_order() -> None:
    scores = up_cf(problem([customer("a", "b", "b", "b")], []), recency=None)

    assert scores[0] == pytest.approx([0.25, 0.75, 0, 0, 0, 0])


def test_implicit_als_prefers_what_similar_customers_buy() -> None:
    left, right = [customer("abc") for _ in range(8)], [customer("def") for _ in range(8)]

    scores = implicit_als(problem([customer("ab"), customer("de")], [*left, *right]), factors=2, alpha=5.0)

    assert scores[0, 2] > scores[0, 5]
    assert scores[1, 5] > scores[1, 2]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_scores_every_item_for_both_questions_with_every_setting(name: str) -> None:
    shop = problem([customer("a", "ab", "c"), customer("d", "ef", "f")], [customer("b")])

    for settings in BASELINES[name].grid:
        answers = BASELINES[name].answers(shop, settings)
        assert set(answers) == {NEXT, HORIZON}
        assert answers[NEXT].shape == (2, 6)
        assert answers[HORIZON].shape == ((3, 6) if BASELINES[name].chances else (2, 6))
        assert all(np.isfinite(scores).all() for scores in answers.values())


def test_a_baseline_may_answer_the_horizon_otherwise() -> None:
    method = Baseline("two ways", personal_top, horizon_score=global_top)
    shop = problem([customer("a", "ab")], [customer("b", "bc")])

    answers = method.answers(shop, {})

    assert answers[NEXT].tolist() == personal_top(shop).tolist()
    assert answers[HORIZON].tolist() == global_top(shop).tolist()


def test_chances_of_the_horizon_are_of_everyone_asked_about_first() -> None:
    method = Baseline("likely", personal_top, horizon_score=personal_top, chances=True)
    shop = problem([customer("a", "ab")], [customer("b", "bc")])

    answers = method.answers(shop, {})

    assert answers[NEXT].shape == (1, 6)
    assert answers[HORIZON].shape == (2, 6)
    assert answers[HORIZON][0].tolist() == answers[NEXT][0].tolist()


def test_a_baseline_without_its_package_is_left_out_of_all_and_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "demand.baselines.baseline.find_spec", lambda name: None if name == "implicit" else find_spec(name)
    )

    chosen, left_out = named("all")

    assert [each.name for each in chosen] == [name for name in BASELINES if name != "implicit-als"]
    assert left_out == ["implicit-als"]
    with pytest.raises(SettingsError, match=r"needs the package 'implicit'.*demandcast\[baselines\]"):
        named("global-top,implicit-als")


def test_names_choose_baselines_and_an_unknown_one_is_refused() -> None:
    assert [each.name for each in named("up-cf, global-top")[0]] == ["up-cf", "global-top"]
    assert named("none") == ([], [])
    with pytest.raises(SettingsError, match="no baseline 'magic'"):
        named("magic")
