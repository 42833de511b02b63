"""What stopping trials early saves, and what it misses: the same configurations in full and under ASHA.

    .venv/bin/python -m benchmarks.sweep_cost --data DIR --customers 400

A random search draws the configurations (learning rate, prompt format), first without stopping, then, with the same
seed and so the same ones, under ASHA. Told are what ASHA cost in full runs, how far its winner's validation metric is
from the best of all in full, and of a full trial the share of its time that was no training: processes, imports,
validation data.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from demand.dataset import Dataset
from demand.protocols import protocol
from ray_app.cluster import connect
from ray_app.presets import load_settings
from training.run import Plan
from tuning.live import LiveTable, ranking_table
from tuning.plan import SweepPlan, Trial
from tuning.space import FORMAT, RATE
from tuning.sweep import run_sweep


class Clock(tune.Callback):
    """Seconds of each trial on the wall, from where Tune asks for its process to where it is gone."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.took: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Tune asks for a trial's process."""
        self.began[trial.trial_id] = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial is over."""
        self.took[trial.trial_id] = time.monotonic() - self.began[trial.trial_id]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--customers", type=int, default=None, help="who take part; all by default")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--formats", nargs="+", default=["compact", "profile"])
    parser.add_argument("--lr", type=float, nargs=2, default=(3e-4, 1e-2))
    given = parser.parse_args()
    plan = Plan(
        data=given.data.resolve(),
        settings=load_settings(given.preset, ["training.refit=false"]),
        protocol=protocol("cutoff", Dataset.open(given.data)),
        customers=given.customers,
    )
    space = {RATE: {"low": given.lr[0], "high": given.lr[1], "log": True}, FORMAT: given.formats}
    console = Console(width=120)
    connect(dashboard=True)
    found: dict[str, list[Trial]] = {}
    clocks = {"none": Clock(), "asha": Clock()}
    with tempfile.TemporaryDirectory() as scratch:
        for stopping, clock in clocks.items():
            sweep = SweepPlan.model_validate(
                {"plan": plan, "space": space, "trials": given.trials, "search": "random", "stopping": stopping}
            )
            begin = time.monotonic()
            found[stopping] = run_sweep(sweep, stopping, Path(scratch), [clock, LiveTable(sweep)])
            console.print(f"stopping {stopping}: {time.monotonic() - begin:.0f} s")
            console.print(ranking_table(found[stopping], sweep.objectives))
    tell(found["none"], found["asha"], clocks["none"], console)


def tell(full: Sequence[Trial], stopped: Sequence[Trial], clock: Clock, console: Console) -> None:
    """The three figures."""
    cost = sum(trial.metrics["progress"] for trial in stopped)
    in_full = {str(dict(trial.config)): trial for trial in full}
    winner = in_full[str(dict(stopped[0].config))]
    console.print(f"{len(stopped)} configurations under ASHA cost {cost:.2f} full runs")
    console.print(
        f"its winner reaches {winner.score():.4f} in full, the best of all {full[0].score():.4f}: "
        f"{winner.score() / full[0].score() - 1:+.2%}; rank {list(full).index(winner) + 1} of {len(full)}"
    )
    shares = [1 - trial.metrics["training_seconds"] / clock.took[trial.id] for trial in full]
    seconds = statistics.median(clock.took[trial.id] for trial in full)
    console.print(
        f"a full trial takes {seconds:.0f} s (median), of which {statistics.median(shares):.1%} is no training"
    )


if __name__ == "__main__":
    main()
