"""What a sweep is to do, and what became of one of its configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from demand.errors import SettingsError
from training.job import VALIDATION_METRIC
from training.run import Plan
from tuning.space import Space

Search = Literal["tpe", "random", "grid"]
Stopping = Literal["asha", "hyperband", "pbt", "none"]
MINIMISED = ("loss",)
OTHER_OBJECTIVES = ("loss", "tokens_per_second")
"""Beside the protocol's metrics."""


class SweepPlan(BaseModel):
    """What a sweep is to do; saved with the sweep, so that it can be resumed.

    Attributes:
        plan: every trial's plan, but for the settings that the space names.
        trials: how many configurations; by default as many as the rest of the budget, or a grid, allows.
        hours: from each start of the sweep; trials that run then end where they are.
        epochs: passes over the data by all trials together, after which no trial goes on.
        search: how configurations are chosen: Optuna's TPE, at random, or every combination.
        stopping: which trials end early: by ASHA, by asynchronous Hyperband (ASHA that begins at three different
            lengths), or none; or what goes on in their place (tuning.population).
        objectives: what is best; a trial is ranked by the first, and TPE searches for all of them.
        warm_start: name of an earlier sweep from whose results the search goes on.
        at_once: trials that run at the same time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Plan
    space: Space
    trials: int | None = Field(default=None, ge=1, le=10_000)
    hours: float | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    search: Search = "tpe"
    stopping: Stopping = "asha"
    objectives: tuple[str, ...] = Field(default=(VALIDATION_METRIC,), min_length=1)
    warm_start: str | None = None
    at_once: int = Field(default=2, ge=1)

    def check(self) -> None:
        """Raises SettingsError where the sweep cannot be run as it is, which says why."""
        self.space.check(self.plan.settings)
        if self.plan.settings.privacy.epsilon or any(name.startswith("privacy.") for name in self.space):
            # Each trial learns from the same customers, and validation orders choose among what they learned.
            raise SettingsError("a sweep cannot keep privacy.epsilon, which one run alone spends: use train")
        for name in self.space:
            if name == "base" or (self.plan.base and name.startswith("model.")):
                raise SettingsError(f"{name}: a sweep cannot change the pretrained model; run one for each")
        known = [*self.plan.protocol.metrics, *OTHER_OBJECTIVES]
        for objective in self.objectives:
            if objective not in known:
                raise SettingsError(f"no objective '{objective}': choose among {', '.join(known)}")
        if len(self.objectives) > 1 and self.search != "tpe":
            raise SettingsError(f"--search {self.search} knows one objective: give one, or use tpe")
        if self.search == "grid":
            self.space.grid()
        elif not (self.trials or self.hours or self.epochs):
            raise SettingsError("a sweep needs a budget: --trials, --hours or --epochs")


@dataclass(frozen=True)
class Trial:
    """One configuration and how far it came.

    Attributes:
        state: TERMINATED (ran to its end, or was stopped early) or ERROR.
        metrics: what it reported last.
        curve: epoch and objective of each of its reports.
        checkpoint: the folder of its last checkpoint, if it got that far.
    """

    id: str
    state: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    curve: Sequence[tuple[float, float]] = ()
    checkpoint: str | None = None

    def score(self, objective: str = VALIDATION_METRIC) -> float:
        """The last value of an objective, the higher the better; minus infinity where there is none."""
        value = float(self.metrics.get(objective, float("nan")))
        if value != value:
            return float("-inf")
        return -value if objective in MINIMISED else value


def ranked(trials: Sequence[Trial], objectives: Sequence[str]) -> list[Trial]:
    """Best first: by the first objective; with several, those that no other trial beats in all of them come first."""
    beaten = {trial.id for trial in trials if len(objectives) > 1 and any(beats(o, trial, objectives) for o in trials)}
    return sorted(trials, key=lambda trial: (trial.id in beaten, -trial.score(objectives[0])))


def beats(one: Trial, other: Trial, objectives: Sequence[str]) -> bool:
    """Whether a trial is nowhere worse than another, and somewhere better (Pareto)."""
    pairs = [(one.score(each), other.score(each)) for each in objectives]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
