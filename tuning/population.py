"""Population based training (Jaderberg et al. 2017): trials that fall behind go on from better ones' snapshots, with
their settings a little changed."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train
from ray import tune
from ray.train.v2.api.callback import UserCallback
from ray.tune.integration.ray_train import CHECKPOINT_PATH_KEY
from ray.tune.schedulers import PopulationBasedTraining
from ray.util.queue import Empty, Queue

from demand.errors import SettingsError
from demand.locations import Location, inside
from training.run import Prepared, fit
from tuning.plan import SweepPlan
from tuning.space import Parameter, Range, Space

CHANGED = (
    "training.learning_rate",
    "training.weight_decay",
    "training.clip",
    "training.averaging",
    "model.dropout",
)
"""Settings that can change on the way; all others a trial takes over with the snapshot."""
EVERY = 0.25
"""Of its steps, between two comparisons of a trial with others."""
POINTER = "snapshot"
"""A file that holds a snapshot's path: what Ray Tune takes for a trial's checkpoint, and copies."""


def check_population(sweep: SweepPlan) -> None:
    """Raises SettingsError, which says why, where a sweep cannot be a population's."""
    if not sweep.trials:
        raise SettingsError("--stopping pbt trains so many trials side by side: give --trials")
    if sweep.search != "random" or len(sweep.objectives) > 1 or sweep.warm_start:
        raise SettingsError("--stopping pbt begins at random, with one objective and no warm start")
    if conditional := [name for name in sweep.space if sweep.space[name].when]:
        raise SettingsError(f"{conditional[0]}: --stopping pbt knows no conditions")
    for name in sweep.space:
        parameter = sweep.space[name]
        if isinstance(parameter, Range) and parameter.step:
            raise SettingsError(f"{name}: --stopping pbt knows no step")
        if isinstance(parameter, Range) and parameter.whole and parameter.log:
            raise SettingsError(f"{name}: --stopping pbt knows no logarithm of whole numbers")
    if not any(name in CHANGED for name in sweep.space):
        raise SettingsError(f"--stopping pbt changes settings on the way: search one of {', '.join(CHANGED)}")


def domains(space: Space) -> dict[str, Any]:
    """What Ray Tune draws the first settings from."""
    return {name: _domain(space[name]) for name in space}


def population(sweep: SweepPlan, mode: str) -> PopulationBasedTraining:
    """Ray Tune's scheduler, which keeps changed settings inside the space."""
    space = sweep.space

    def inside(config: dict[str, Any]) -> dict[str, Any]:
        return {name: space[name].nearest(value) for name, value in config.items()}

    return PopulationBasedTraining(
        time_attr="progress",
        metric=sweep.objectives[0],
        mode=mode,
        perturbation_interval=EVERY,
        hyperparam_mutations={name: _neighbours(space[name]) for name in space if name in CHANGED},
        custom_explore_fn=inside,
    )


def train_member(prepared: Prepared, storage: Location, processors: float) -> None:
    """One trial: a Ray Train run from where Ray Tune says, each report passed on with a pointer to its snapshot.

    A trial that takes over another's snapshot begins a run of its own there; one that was only interrupted goes on with
    its last run.
    """
    trial = tune.get_context().get_trial_id()
    start = _pointed(tune.get_checkpoint(), storage)
    runs = sorted(run.name for run in storage.glob(f"{trial}-*"))
    if not runs or (start and start.parent.name != runs[-1]):
        runs.append(f"{trial}-{len(runs):03}")
    reports: Queue = Queue(actor_options={"num_cpus": 0})
    prepared = replace(prepared, job=replace(prepared.job, start=start))
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(fit, prepared, runs[-1], storage, processors, callbacks=[_Forward(reports)], keep=None)
        while not running.done() or not reports.empty():
            try:
                metrics = reports.get(timeout=1)
            except Empty:
                continue
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / POINTER).write_text(metrics[CHECKPOINT_PATH_KEY])
                tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))
        running.result()


class _Forward(UserCallback):
    """Ray Tune's TuneReportCallback for another queue, from which reports can be given a checkpoint."""

    def __init__(self, reports: Queue) -> None:
        self._reports = reports

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: ray.train.Checkpoint | None
    ) -> None:
        if checkpoint:
            self._reports.put({**metrics[0], CHECKPOINT_PATH_KEY: checkpoint.path})


def _pointed(checkpoint: Any, storage: Location) -> Location | None:
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return inside(storage, (Path(folder) / POINTER).read_text())


def _neighbours(parameter: Parameter) -> Any:
    """As Ray Tune wants what it changes: of a list it takes a value beside; any other domain it takes for numbers."""
    return _domain(parameter) if isinstance(parameter, Range) else list(parameter.choice)


def _domain(parameter: Parameter) -> Any:
    if not isinstance(parameter, Range):
        return tune.choice(list(parameter.choice))
    if parameter.whole:
        return tune.randint(int(parameter.low), int(parameter.high) + 1)
    draw = tune.loguniform if parameter.log else tune.uniform
    return draw(parameter.low, parameter.high)
