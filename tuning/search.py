"""How a sweep chooses configurations and when it stops: Optuna, and Ray Tune's schedulers and stoppers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from ray.tune import Stopper
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from demand.locations import Location
from training.job import CLOSE
from tuning.plan import MINIMISED, SweepPlan, Trial
from tuning.population import population
from tuning.space import Space

STUDY = "sweep"
EARLIEST, FEWEST_STEPS, LATEST = 1 / 16, 128, 1 / 2
"""A trial is first compared after a sixteenth of its steps, but where they are few after so many: before that the order
of trials says nothing of how they end (docs/benchmarks.md). At the latest half way."""
PROMOTED = 4
"""One of so many goes on, to so many times as many steps."""
BRACKETS = 3


def search(sweep: SweepPlan, past: Sequence[Trial]) -> tuple[OptunaSearch, int]:
    """The search, and how many configurations it gives at most (-1: without end).

    Args:
        past: trials of an earlier sweep, which count as if they were this one's where they lie in its space.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    modes = [_mode(each) for each in sweep.objectives]
    seed = sweep.plan.settings.training.seed
    sampler = optuna.samplers.TPESampler(seed=seed) if sweep.search == "tpe" else optuna.samplers.RandomSampler(seed)
    storage = optuna.storages.InMemoryStorage()
    study_of(past, sweep, storage)
    known = [each for each in past if usable(each, sweep)]
    count = sweep.trials or -1
    if sweep.search == "grid":
        points = sweep.space.grid()
        count = min(sweep.trials or len(points), len(points))
    elif known:
        points = [dict(known[0].config)]  # once more the best one
    else:
        points = sweep.space.firsts()
    several = len(sweep.objectives) > 1
    found = OptunaSearch(
        space=sweep.space.suggest,
        metric=list(sweep.objectives) if several else sweep.objectives[0],
        mode=modes if several else modes[0],
        points_to_evaluate=[_written(each, sweep.space) for each in points[: count if count > 0 else None]],
        sampler=sampler,
        study_name=STUDY,
        storage=storage,
    )
    return found, count


def study_of(
    trials: Sequence[Trial], sweep: SweepPlan, storage: optuna.storages.BaseStorage | None = None
) -> optuna.Study:
    """An Optuna study of trials that are over, as far as they are `usable`."""
    up, down = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
    directions = [down if each in MINIMISED else up for each in sweep.objectives]
    study = optuna.create_study(storage=storage, study_name=STUDY, directions=directions)
    for each in trials:
        if usable(each, sweep):
            study.add_trial(as_optuna(each, sweep.space, sweep.objectives))
    return study


def usable(trial: Trial, sweep: SweepPlan) -> bool:
    """Whether a search can learn from an earlier trial: it has results, and this space could have given it."""
    return sweep.space.holds(trial.config) and all(each in trial.metrics for each in sweep.objectives)


def as_optuna(trial: Trial, space: Space, objectives: Sequence[str]) -> optuna.trial.FrozenTrial:
    """A trial that is over, as Optuna keeps it."""
    asked = optuna.trial.FixedTrial(_written(trial.config, space))
    space.suggest(asked)
    values = [trial.metrics[each] for each in objectives]
    return optuna.trial.create_trial(params=asked.params, distributions=asked.distributions, values=values)


def _written(config: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """A configuration in the values that Optuna keeps."""
    return {name: space[name].written(value) for name, value in config.items()}


def scheduler(sweep: SweepPlan, first: float) -> TrialScheduler:
    """What stops trials early, by the share of their steps that they have made; so that trials of different numbers of
    epochs are compared fairly, and one that was started again counts from where it goes on. `first`: see rungs."""
    if sweep.stopping == "none":
        return FIFOScheduler()
    if sweep.stopping == "pbt":
        return population(sweep, _mode(sweep.objectives[0]))
    return AsyncHyperBandScheduler(
        time_attr="progress",
        metric=sweep.objectives[0],
        mode=_mode(sweep.objectives[0]),
        max_t=1,
        grace_period=first * (1 - CLOSE),  # type: ignore[arg-type]  # any number will do
        reduction_factor=PROMOTED,
        brackets=BRACKETS if sweep.stopping == "hyperband" else 1,
    )


def rungs(steps: int) -> tuple[float, ...]:
    """The shares of its steps after which a trial of so many is compared with others, the last one left out."""
    shares, share = [], min(max(EARLIEST, FEWEST_STEPS / steps), LATEST)
    while share < 1:
        shares.append(share)
        share *= PROMOTED
    return tuple(shares)


class EpochBudget(Stopper):
    """Ends a sweep once its trials have made so many epochs together, those before it was resumed included."""

    def __init__(self, epochs: float, folder: Location) -> None:
        """`folder` is where Tune keeps the sweep."""
        self._budget, self._folder = epochs, folder
        self._made: dict[str, float] | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A trial reported; it never ends alone."""
        if self._made is None:
            self._made = _epochs(self._folder)
        self._made[trial_id] = max(self._made.get(trial_id, 0.0), float(result.get("epoch", 0.0)))
        return False

    def stop_all(self) -> bool:
        """Whether the budget is used up."""
        return sum((self._made or {}).values()) >= self._budget

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}


def _epochs(folder: Location) -> dict[str, float]:
    """How far each trial came by what Tune wrote down, a JSON object a line."""
    made: dict[str, float] = {}
    for file in folder.glob("*/result.json"):
        for line in file.read_text().splitlines():
            if line.endswith("}"):  # the last one may be half written
                result = json.loads(line)
                made[result["trial_id"]] = float(result.get("epoch", 0.0))
    return made


def _mode(objective: str) -> str:
    return "min" if objective in MINIMISED else "max"
