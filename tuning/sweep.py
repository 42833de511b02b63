"""A sweep: Ray Tune searches learning rates and prompt formats, ASHA stops what does not promise enough."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.train
from pydantic import BaseModel, ConfigDict, Field
from ray import tune
from ray.tune.integration.ray_train import CHECKPOINT_PATH_KEY, TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from demand.errors import SettingsError
from demand.formats import prompt_format
from training.job import VALIDATION_METRIC
from training.run import Plan, Prepared, fit, prepare

DRIVER_CPU = 0.01
"""What Tune reserves for a trial's driver, which only waits for its worker."""
RATE = "training.learning_rate"
FORMAT = "prompt.name"


class SweepPlan(BaseModel):
    """What a sweep is to do; saved with the sweep, so that it can be resumed.

    Attributes:
        plan: every trial's plan, but for the learning rate and the prompt format.
        rates: lowest and highest learning rate, searched log-uniformly.
        formats: prompt formats by name.
        at_once: trials that run at the same time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Plan
    trials: int = Field(ge=1, le=10_000)
    rates: tuple[float, float] = (3e-4, 1e-2)
    formats: tuple[str, ...]
    at_once: int = Field(default=2, ge=1)


@dataclass(frozen=True)
class Trial:
    """One configuration and how far it came.

    Attributes:
        state: TERMINATED (ran to its end, or was stopped early by ASHA) or ERROR.
        checkpoint: the folder of its last checkpoint, if it got that far.
    """

    id: str
    state: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    checkpoint: str | None = None

    @property
    def score(self) -> float:
        """The last validation metric that the trial reported."""
        return float(self.metrics.get(VALIDATION_METRIC, float("-inf")))


def run_sweep(sweep: SweepPlan, name: str, storage: Path, callbacks: Sequence[tune.Callback] = ()) -> list[Trial]:
    """Runs all trials, or those that are missing where a sweep of that name in that storage stopped.

    Examples are rendered once for each prompt format and shared by the trials through the object store.

    Returns:
        The trials, best first.

    Raises:
        SettingsError: the learning rates are no range.
        DataError, SettingsError: as training.run.prepare.
    """
    low, high = sweep.rates
    if not 0 < low < high < 1:
        raise SettingsError(f"--lr {low} {high}: give two learning rates, the lower first, between 0 and 1")
    prepared = {
        each: prepare(sweep.plan.model_copy(update={"settings": sweep.plan.settings.with_values({FORMAT: each})}))
        for each in sweep.formats
    }
    folder = storage.resolve() / name
    processors = max(ray.cluster_resources()["CPU"] / sweep.at_once / sweep.plan.workers - DRIVER_CPU * 2, 0.1)
    trainable = tune.with_resources(
        tune.with_parameters(_trial, prepared=prepared, storage=folder / "trials", processors=processors),
        {"CPU": DRIVER_CPU},
    )
    if tune.Tuner.can_restore(str(folder)):
        tuner = tune.Tuner.restore(str(folder), trainable, resume_unfinished=True, restart_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={RATE: tune.loguniform(low, high), FORMAT: tune.choice(list(sweep.formats))},
            tune_config=_tune_config(sweep),
            run_config=tune.RunConfig(
                name=name, storage_path=str(storage.resolve()), callbacks=list(callbacks), verbose=0
            ),
        )
    return ranking(tuner.fit())


def _tune_config(sweep: SweepPlan) -> tune.TuneConfig:
    training = sweep.plan.settings.training
    return tune.TuneConfig(
        metric=VALIDATION_METRIC,
        mode="max",
        num_samples=sweep.trials,
        max_concurrent_trials=sweep.at_once,
        search_alg=_search(sweep),
        scheduler=ASHAScheduler(max_t=training.epochs * training.reports_per_epoch, grace_period=1, reduction_factor=2),
    )


def _search(sweep: SweepPlan) -> OptunaSearch:
    """Optuna's TPE, which first tries every format at the middle learning rate."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    middle = math.sqrt(sweep.rates[0] * sweep.rates[1])
    first = [{FORMAT: name, RATE: middle} for name in sweep.formats]
    return OptunaSearch(seed=sweep.plan.settings.training.seed, points_to_evaluate=first[: sweep.trials])


def ranking(results: tune.ResultGrid) -> list[Trial]:
    """Trials from best to worst; those without a result last."""
    return sorted((_trial_of(results[place]) for place in range(len(results))), key=lambda trial: -trial.score)


def _trial_of(result: ray.tune.Result) -> Trial:
    metrics = result.metrics or {}
    return Trial(
        id=str(metrics.get("trial_id") or Path(result.path).name),
        state="ERROR" if result.error else "TERMINATED",
        config=dict(result.config or {}),
        metrics={key: value for key, value in metrics.items() if _is_ours(key, value)},
        checkpoint=metrics.get(CHECKPOINT_PATH_KEY),
    )


def _is_ours(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and (
        "@" in key or key in ("loss", "step", "steps", "epoch", "tokens_per_second")
    )


def _trial(config: dict[str, Any], prepared: Mapping[str, Prepared], storage: Path, processors: float) -> None:
    """One trial: a Ray Train run with the trial's settings, its reports passed on to Tune."""
    base = prepared[config[FORMAT]]
    settings = base.plan.settings.with_values(config)
    plan = base.plan.model_copy(update={"settings": settings})
    fit(
        replace(base, plan=plan, job=replace(base.job, settings=settings)),
        name=tune.get_context().get_trial_id(),
        storage=storage,
        processors=processors,
        callbacks=[TuneReportCallback()],
    )


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Prompt formats by name, each once.

    Raises:
        SettingsError: there is none of that name.
    """
    return tuple(dict.fromkeys(prompt_format(name).name for name in names))
