"""A real sweep, small: every format tried, stopped early where it does not promise, ranked and resumable."""

from pathlib import Path

import pytest

from demand.dataset import Dataset
from demand.errors import SettingsError
from demand.moments import moment
from demand.protocols import Cutoff
from ray_app.presets import load_settings
from tests.conftest import CUTOFF
from training.run import Plan
from tuning.live import LiveTable
from tuning.sweep import FORMAT, RATE, SweepPlan, check_formats, run_sweep

pytestmark = pytest.mark.usefixtures("ray_cluster")


def sweep(shop: Dataset, **fields: object) -> SweepPlan:
    settings = load_settings("tiny").with_values({"training.epochs": 2, "training.validation_customers": 20})
    plan = Plan(data=shop.folder, settings=settings, protocol=Cutoff(cutoff=moment(CUTOFF)), customers=20)
    return SweepPlan.model_validate({"plan": plan, "trials": 2, "formats": ("compact", "names"), **fields})


def test_trials_try_each_format_and_are_ranked_by_validation(shop: Dataset, tmp_path: Path) -> None:
    trials = run_sweep(sweep(shop), "sweep", tmp_path, [LiveTable(2)])

    assert {trial.config[FORMAT] for trial in trials} == {"compact", "names"}
    assert all(3e-4 <= trial.config[RATE] <= 1e-2 for trial in trials)
    assert [trial.state for trial in trials] == ["TERMINATED", "TERMINATED"]
    assert trials[0].score >= trials[1].score > 0
    assert trials[0].checkpoint
    assert (Path(trials[0].checkpoint) / "manifest-0-of-1.json").is_file()

    again = run_sweep(sweep(shop), "sweep", tmp_path)
    assert [(trial.id, trial.score) for trial in again] == [(trial.id, trial.score) for trial in trials]


def test_learning_rates_that_are_no_range_and_unknown_formats_are_refused(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the lower first"):
        run_sweep(sweep(shop, rates=(1e-2, 1e-3)), "bad", tmp_path)
    with pytest.raises(SettingsError, match="haiku"):
        check_formats(["compact", "haiku"])
