"""A sweep: Ray Tune tries configurations of settings and stops early what does not promise enough."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune
from ray.tune.integration.ray_train import CHECKPOINT_PATH_KEY, TuneReportCallback

from demand.errors import SettingsError
from demand.locations import Location, absolute, inside, split
from training.resources import processors
from training.run import Plan, Prepared, finished, fit, prepare, renders
from tuning.plan import SweepPlan, Trial, ranked
from tuning.population import domains, train_member
from tuning.search import EpochBudget, rungs, scheduler, search

DRIVER_CPU = 0.01
"""What Tune reserves for a trial's driver, which only waits for its worker."""
WRITTEN_DOWN = "1"
"""Seconds after which Tune keeps what it knows; by itself it waits for ten, whose news are lost with the driver."""
MOST_RENDERINGS = 32
"""Ways in which a sweep may render the data, all of which are kept in memory."""
KEPT = ("loss", "step", "steps", "progress", "epoch", "tokens_per_second", "training_seconds", "time_total_s")
"""What is remembered of a trial beside its metrics."""


def run_sweep(
    sweep: SweepPlan,
    name: str,
    storage: Location,
    callbacks: Sequence[tune.Callback] = (),
    past: Sequence[Trial] = (),
) -> list[Trial]:
    """Runs all trials, or those that are missing where a sweep of that name in that storage stopped.

    Examples are rendered once for each way in which the space writes them, and shared by the trials through the object
    store. A trial whose process dies goes on from its last checkpoint, training.max_failures times.

    Args:
        past: trials of an earlier sweep to begin from.

    Returns:
        The trials, best first.

    Raises:
        SettingsError: the space writes the data in too many ways.
        DataError, SettingsError: as training.run.prepare.
        KeyboardInterrupt: Ctrl-C; the sweep can be resumed.
    """
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", WRITTEN_DOWN)
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # which would end the sweep as if it were complete
    folder = absolute(storage) / name
    share = max(processors(sweep.plan.workers, runs=sweep.at_once) - DRIVER_CPU * 2, 0.1)
    prepared = _rendered(sweep)
    compared = rungs(min(each.job.total_steps for each in prepared.values()))
    trainable = tune.with_resources(
        tune.with_parameters(
            _trial,
            prepared=prepared,
            compared=compared,
            storage=folder / "trials",
            processors=share,
            population=sweep.stopping == "pbt",
        ),
        {"CPU": DRIVER_CPU},
    )
    path, filesystem = split(folder)
    if tune.Tuner.can_restore(path, filesystem):
        tuner = tune.Tuner.restore(
            path, trainable, resume_unfinished=True, restart_errored=True, storage_filesystem=filesystem
        )
    else:
        # A population draws its first settings by Ray Tune's own means: its scheduler takes no other.
        searching, count = (None, sweep.trials) if sweep.stopping == "pbt" else search(sweep, past)
        tuner = tune.Tuner(
            trainable,
            param_space=domains(sweep.space) if searching is None else None,
            tune_config=tune.TuneConfig(
                num_samples=count or -1,
                max_concurrent_trials=sweep.at_once,
                search_alg=searching,
                scheduler=scheduler(sweep, compared[0]),
                time_budget_s=sweep.hours and sweep.hours * 3_600,
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=split(storage)[0],
                storage_filesystem=filesystem,
                stop=EpochBudget(sweep.epochs, folder) if sweep.epochs else None,
                failure_config=tune.FailureConfig(max_failures=sweep.plan.settings.training.max_failures),
                callbacks=list(callbacks),
                verbose=0,
            ),
        )
    results = tuner.fit()
    trials = [_trial_of(results[place], sweep.objectives[0], storage) for place in range(len(results))]
    return ranked(trials, sweep.objectives)


def _rendered(sweep: SweepPlan) -> dict[str, Prepared]:
    """Every rendering that the space can ask for, by what it is rendered with."""
    names = sweep.space.with_conditions(each for each in sweep.space if renders(each))
    configs = {_key(config): config for config in sweep.space.grid(names)}
    if len(configs) > MOST_RENDERINGS:
        raise SettingsError(
            f"{', '.join(names)} write the data in {len(configs)} ways: at most {MOST_RENDERINGS} fit in a sweep"
        )
    return {key: prepare(_with(sweep.plan, config)) for key, config in configs.items()}


def _key(config: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in sorted(config.items()) if renders(name)})


def _with(plan: Plan, config: Mapping[str, Any]) -> Plan:
    return plan.model_copy(update={"settings": plan.settings.with_values(config)})


def _trial(
    config: dict[str, Any],
    prepared: Mapping[str, Prepared],
    compared: tuple[float, ...],
    storage: Location,
    processors: float,
    population: bool,
) -> None:
    """One trial: a Ray Train run with the trial's settings, its reports passed on to Tune."""
    base = prepared[_key(config)]
    mine = base.of(_with(base.plan, config).settings, early=compared)
    if population:
        train_member(mine, storage, processors)
        return
    name = tune.get_context().get_trial_id()
    if ended := finished(storage / name):  # but Tune had not written that down when it was killed
        snapshot, metrics = ended
        tune.report({**metrics, CHECKPOINT_PATH_KEY: split(snapshot)[0]})
        return
    fit(
        mine,
        name=name,
        storage=storage,
        processors=processors,
        callbacks=[TuneReportCallback()],
    )


def _trial_of(result: ray.tune.Result, objective: str, storage: Location) -> Trial:
    metrics = result.metrics or {}
    snapshot = metrics.get(CHECKPOINT_PATH_KEY)
    return Trial(
        id=str(metrics.get("trial_id") or Path(result.path).name),
        state="ERROR" if result.error else "TERMINATED",
        config=dict(result.config or {}),
        metrics={key: value for key, value in metrics.items() if _is_ours(key, value)},
        curve=_curve(result, objective),
        checkpoint=str(inside(storage, snapshot)) if snapshot else None,
    )


def _curve(result: ray.tune.Result, objective: str) -> list[tuple[float, float]]:
    """Each epoch once, for a trial that was started again reports some a second time."""
    frame = result.metrics_dataframe
    if frame is None or objective not in frame:
        return []
    return sorted(dict(zip(frame["epoch"].tolist(), frame[objective].tolist(), strict=True)).items())


def _is_ours(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and ("@" in key or key in KEPT)
