"""A sweep whose driver dies, or is told to stop, goes on from the command line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demand.dataset import Dataset
from tests.conftest import CUTOFF
from tests.ray_app.commandline import demandcast, last_json

SMALL = ("--preset", "tiny", "--customers", 20, "--set", "training.validation_customers=20", "--at-once", 1)


@pytest.mark.drill
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_whose_driver_is_stopped_goes_on_with_the_same_trials(
    shop: Dataset, tmp_path: Path, by: signal.Signals
) -> None:
    arguments = ("--data", shop.folder, "--cutoff", CUTOFF, *SMALL, "--stopping", "none")
    words = [*arguments, "--search", "grid", "--vary", "training.learning_rate=[0.001, 0.004]"]
    command = [sys.executable, "-m", "ray_app.cli", "tune", *map(str, words), "--prompt-format", "compact"]
    before = ""
    with subprocess.Popen(
        command, env={**os.environ, "DEMANDCAST_HOME": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            before += line
            if ": done" in line:
                driver.send_signal(by)
                break
        rest = driver.stdout.read()
    assert ("stopped: go on with" in rest) == (by == signal.SIGINT)
    assert "challenger" not in rest
    name = before.splitlines()[0].removeprefix("sweep ")
    finished = before.splitlines()[-1].split()[1].rstrip(":")
    reported = last_report(tmp_path / "sweeps" / name / "trials" / finished)

    out, _ = demandcast("tune", "--resume", name, "--json", home=tmp_path)

    trials = {trial["id"]: trial for trial in last_json(out)["trials"]}
    assert sorted(trial["config"]["training.learning_rate"] for trial in trials.values()) == [0.001, 0.004]
    assert all(trial["metrics"]["progress"] == 1 for trial in trials.values())
    assert trials[finished]["metrics"]["training_seconds"] == reported["training_seconds"]  # it did not run again
    page = (tmp_path / "sweeps" / name / "report.html").read_text()
    assert f"{name}: sweep" in page


def last_report(run: Path) -> dict[str, Any]:
    """What a trial's last checkpoint says of it."""
    *_, last = sorted(run.glob("checkpoint_*/card.json"))
    metrics: dict[str, Any] = json.loads(last.read_text())["metrics"]
    return metrics
