"""Real sweeps, small: every format tried, stopped early where it does not promise, ranked, resumable, hard to kill."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from rich.console import Console

from demand.dataset import Dataset
from demand.moments import moment
from demand.protocols import Cutoff
from ray_app.presets import load_settings
from tests.conftest import CUTOFF
from training.run import Plan
from tuning.live import LiveTable, ranking_table
from tuning.plan import SweepPlan, Trial
from tuning.space import FORMAT, RATE
from tuning.sweep import run_sweep

pytestmark = pytest.mark.usefixtures("ray_cluster")
RATES = {"low": 3e-4, "high": 1e-2, "log": True}


def sweep(shop: Dataset, **fields: Any) -> SweepPlan:
    small = {"training.epochs": 2, "training.validation_customers": 20, "training.microbatch_tokens": 256}
    settings = load_settings("tiny").with_values(small)
    plan = Plan(data=shop.folder, settings=settings, protocol=Cutoff(cutoff=moment(CUTOFF)), customers=20)
    space = {RATE: RATES, FORMAT: ["compact", "names"], "prompt.gaps": {"choice": ["none"], "when": {FORMAT: "names"}}}
    return SweepPlan.model_validate({"plan": plan, "space": space, "trials": 2, **fields})


class Killer(tune.Callback):
    """Kills the process of the first trial that reports, once."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if not self.killed:
            self.killed.append(trial.trial_id)
            os.kill(result["pid"], signal.SIGKILL)


def test_trials_try_each_format_and_are_ranked_by_validation(shop: Dataset, tmp_path: Path) -> None:
    plan = sweep(shop)

    trials = run_sweep(plan, "sweep", tmp_path, [LiveTable(plan)])

    assert {trial.config[FORMAT]: trial.config.get("prompt.gaps") for trial in trials} == {
        "compact": None,
        "names": "none",
    }
    assert all(3e-4 <= trial.config[RATE] <= 1e-2 for trial in trials)
    assert [trial.state for trial in trials] == ["TERMINATED", "TERMINATED"]
    assert trials[0].score() >= trials[1].score() > 0
    assert trials[0].checkpoint
    assert (Path(trials[0].checkpoint) / "manifest-0-of-1.json").is_file()
    best = trials[0]
    assert best.curve[-1] == (best.metrics["epoch"], best.score())
    assert best.curve[0][0] == pytest.approx(1, abs=0.2)  # of two epochs: it is compared half way

    again = run_sweep(plan, "sweep", tmp_path)
    assert [(trial.id, trial.score()) for trial in again] == [(trial.id, trial.score()) for trial in trials]


def test_a_value_of_brackets_is_shown_as_it_is(shop: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    instruction = "[INST] What next? [/INST]"
    plan = sweep(shop, space={RATE: RATES, "prompt.instruction": [instruction]})
    table = LiveTable(plan)
    table.setup()

    table.on_trial_start(0, [], SimpleNamespace(trial_id="t1", config={RATE: 1e-3, "prompt.instruction": instruction}))
    trial = Trial("t1", "TERMINATED", {"prompt.instruction": instruction}, {})
    Console(width=200).print(ranking_table([trial], ["ndcg@10"]))

    assert capsys.readouterr().out.count(instruction) == 2


@pytest.mark.drill
def test_in_a_population_who_falls_behind_goes_on_from_a_better_one(shop: Dataset, tmp_path: Path) -> None:
    plan = sweep(shop, space={RATE: {**RATES, "low": 1e-6}}, search="random", stopping="pbt")
    settings = plan.plan.settings.with_values({"training.epochs": 40})
    plan = plan.model_copy(update={"plan": plan.plan.model_copy(update={"settings": settings})})

    trials = run_sweep(plan, "population", tmp_path)

    assert all(trial.state == "TERMINATED" and trial.metrics["progress"] == 1 for trial in trials)
    assert all(1e-6 <= trial.config[RATE] <= 1e-2 for trial in trials)
    runs = sorted(folder.name for folder in (tmp_path / "population" / "trials").iterdir())
    last = {name.split("-")[0]: name for name in runs}
    behind = [trial for trial in trials if not last[trial.id].endswith("-000")]
    assert behind  # either, or both where they overtook each other
    for trial in behind:
        assert Path(str(trial.checkpoint)).parent.name == last[trial.id]
        first = next((tmp_path / "population").glob(f"*{trial.id}*/result.json")).read_text().splitlines()[0]
        assert trial.config[RATE] != json.loads(first)["config"][RATE]


def test_a_trial_whose_process_is_killed_goes_on(shop: Dataset, tmp_path: Path) -> None:
    killer = Killer()

    (trial,) = run_sweep(sweep(shop, trials=1, space={RATE: [1e-3]}, stopping="none"), "killed", tmp_path, [killer])

    assert killer.killed == [trial.id]
    assert trial.state == "TERMINATED"
    assert trial.metrics["progress"] == 1
