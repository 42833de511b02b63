"""How a sweep chooses: asked as Ray Tune asks, without trials that train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.moments import moment
from demand.protocols import Cutoff
from ray_app.presets import load_settings
from tests.conftest import CUTOFF
from training.run import Plan
from tuning.plan import SweepPlan, Trial, ranked
from tuning.population import check_population
from tuning.results import save_ranking, saved_ranking
from tuning.search import EpochBudget, rungs, search
from tuning.space import FORMAT, RATE

SPACE = {RATE: {"low": 1e-4, "high": 1e-1, "log": True}, FORMAT: ["compact", "names"]}


def plan(shop: Dataset, assignments: Sequence[str] = (), **fields: Any) -> SweepPlan:
    base = Plan(data=shop.folder, settings=load_settings("tiny", assignments), protocol=Cutoff(cutoff=moment(CUTOFF)))
    return SweepPlan.model_validate({"plan": base, "space": SPACE, **fields})


def asked(sweep: SweepPlan, count: int, past: list[Trial] | None = None) -> list[dict[str, Any]]:
    """Configurations whose score is best near a rate of .01."""
    searching, _ = search(sweep, past or [])
    configs = []
    for number in range(count):
        config = searching.suggest(str(number))
        assert config is not None
        searching.on_trial_complete(str(number), {"ndcg@10": score(config), "loss": 1.0, "training_iteration": 1})
        configs.append(config)
    return configs


def score(config: dict[str, Any]) -> float:
    return 1.0 / (1.0 + abs(config[RATE] - 0.01) * 1_000)


def good(config: dict[str, Any]) -> bool:
    return bool(0.003 < config[RATE] < 0.03)


def trial(name: str, rate: float = 0.01, **metrics: float) -> Trial:
    config = {RATE: rate, FORMAT: "names"}
    return Trial(name, "TERMINATED", config, metrics or {"ndcg@10": score(config)})


def test_a_search_tries_each_format_first_and_then_what_was_good(shop: Dataset) -> None:
    configs = asked(plan(shop, trials=30), 30)

    assert [config[FORMAT] for config in configs[:2]] == ["compact", "names"]
    assert configs[0][RATE] == pytest.approx(10**-2.5)
    at_random = asked(plan(shop, trials=30, search="random"), 30)
    assert sum(map(good, configs[15:])) > sum(map(good, at_random[15:]))


def test_a_warm_start_begins_with_the_best_of_before_and_knows_the_rest(shop: Dataset) -> None:
    rates = [10 ** -(1 + 3 * place / 60) for place in range(61)]
    past = sorted((trial(str(rate), rate) for rate in rates), key=lambda each: -each.score())
    outside = Trial("x", "TERMINATED", {RATE: 0.5, FORMAT: "names"}, {"ndcg@10": 1.0})
    failed = Trial("y", "ERROR", {RATE: 0.01, FORMAT: "compact"}, {})

    configs = asked(plan(shop, trials=20), 20, [outside, failed, *past])

    assert configs[0] == {RATE: pytest.approx(0.01), FORMAT: "names"}
    cold = asked(plan(shop, trials=20), 20)
    assert sum(map(good, configs)) > sum(map(good, cold)) + 3


def test_a_warm_start_leaves_out_what_a_step_has_no_place_for(shop: Dataset) -> None:
    space = {RATE: {"low": 0.01, "high": 0.05, "step": 0.01}, FORMAT: ["compact", "names"]}
    between, on = trial("between", 0.013), trial("on", 0.03)

    assert asked(plan(shop, trials=1, space=space), 1, [between, on]) == [on.config]


def test_a_grid_is_asked_once_for_each_combination(shop: Dataset) -> None:
    sweep = plan(shop, search="grid", space={RATE: [0.001, 0.01], FORMAT: ["compact", "names"]})

    searching, count = search(sweep, [])

    assert count == 4
    configs = [searching.suggest(str(number)) for number in range(4)]
    assert configs == sweep.space.grid()


def test_several_objectives_are_searched_and_ranked_together(shop: Dataset) -> None:
    configs = asked(plan(shop, trials=4, objectives=["ndcg@10", "loss"]), 4)
    slow, fast = trial("slow", **{"ndcg@10": 0.5, "loss": 1.0}), trial("fast", **{"ndcg@10": 0.3, "loss": 0.5})
    beaten, failed = trial("beaten", **{"ndcg@10": 0.4, "loss": 1.2}), Trial("failed", "ERROR", {}, {})

    assert len(configs) == 4
    assert ranked([failed, beaten, fast, slow], ["ndcg@10", "loss"]) == [slow, fast, beaten, failed]
    assert ranked([failed, beaten, fast, slow], ["ndcg@10"]) == [slow, beaten, fast, failed]
    assert ranked([failed, beaten, fast, slow], ["loss"])[0] == fast


def test_trials_are_compared_after_a_sixteenth_and_a_quarter_but_not_after_a_few_steps() -> None:
    assert rungs(100_000) == (1 / 16, 1 / 4)
    assert rungs(512) == (1 / 4,)
    assert rungs(20) == (1 / 2,)


def test_a_budget_of_epochs_counts_all_trials_also_those_before_a_resume(tmp_path: Path) -> None:
    budget = EpochBudget(3.0, tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "result.json").write_text(
        '{"trial_id": "a", "epoch": 0.5}\n{"trial_id": "a", "epoch": 1.5}\n{"tr'
    )

    assert not budget.stop_all()
    assert not budget("b", {"epoch": 1.0})
    assert not budget.stop_all()
    assert not budget("b", {"epoch": 1.5})
    assert budget.stop_all()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "needs a budget"),
        ({"trials": 1, "objectives": ["joy"]}, "no objective 'joy'"),
        ({"trials": 1, "objectives": ["loss", "ndcg@10"], "search": "random"}, "knows one objective"),
        ({"search": "grid"}, "list them"),
        ({"trials": 1, "space": {"base": ["gpt2"]}}, "cannot change the pretrained model"),
        ({"trials": 1, "space": {"privacy.epsilon": [4, 8]}}, "a sweep cannot keep privacy.epsilon"),
        ({"trials": 1, "space": {"privacy.delta": [1e-6]}}, "a sweep cannot keep privacy.epsilon"),
        ({"trials": 1, "assignments": ["privacy.epsilon=8"]}, "a sweep cannot keep privacy.epsilon"),
    ],
)
def test_a_sweep_that_cannot_be_run_says_why(shop: Dataset, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        plan(shop, **fields).check()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "give --trials"),
        ({"trials": 4}, "begins at random"),
        ({"trials": 4, "search": "random", "space": {FORMAT: ["compact"]}}, "changes settings on the way"),
        (
            {
                "trials": 4,
                "search": "random",
                "space": {**SPACE, "prompt.gaps": {"choice": ["none"], "when": {FORMAT: "names"}}},
            },
            "prompt.gaps: --stopping pbt knows no conditions",
        ),
        (
            {
                "trials": 4,
                "search": "random",
                "space": {"training.weight_decay": {"low": 0.0, "high": 0.4, "step": 0.1}},
            },
            "training.weight_decay: --stopping pbt knows no step",
        ),
        (
            {
                "trials": 4,
                "search": "random",
                "space": {**SPACE, "training.epochs": {"low": 1, "high": 8, "log": True}},
            },
            "training.epochs: --stopping pbt knows no logarithm of whole numbers",
        ),
    ],
)
def test_a_population_that_cannot_be_says_why(shop: Dataset, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_population(plan(shop, stopping="pbt", **fields))


def test_a_ranking_is_kept_for_programs_and_for_tables(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    trials = [
        Trial(
            "a", "TERMINATED", {RATE: 0.01, "prompt.fields": ["profile"]}, {"ndcg@10": 0.5}, ((0.5, 0.4), (1.0, 0.5))
        ),
        Trial("b", "ERROR", {RATE: 0.1, "prompt.gaps": "none"}, {}),
        Trial("c", "ERROR", {RATE: 0.1, "prompt.gaps": 3}, {}),
    ]
    folder = tmp_path / "sweep-1"
    folder.mkdir()

    save_ranking(trials, folder)

    table = pq.read_table(folder / "ranking.parquet").to_pylist()
    assert [(row["rank"], row["trial"], row[RATE], row["ndcg@10"]) for row in table] == [
        (1, "a", 0.01, 0.5),
        (2, "b", 0.1, None),
        (3, "c", 0.1, None),
    ]
    assert [row["prompt.gaps"] for row in table] == [None, "none", "3"]
    assert table[0]["prompt.fields"] == '["profile"]'
    assert [each.config for each in saved_ranking(folder)] == [each.config for each in trials]
    with pytest.raises(DataError, match="no finished sweep called 'sweep-2': known are sweep-1"):
        saved_ranking(tmp_path / "sweep-2")
