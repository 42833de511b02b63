"""The live table of a sweep: one row a trial, best first; plain lines where there is no terminal."""

import atexit
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tuning.plan import MINIMISED, SweepPlan, Trial
from tuning.space import FORMAT

RUNNING = "running"
LABELS = {FORMAT: "prompt format"}
"""Of settings whose own name says too little alone."""


class LiveTable(tune.Callback):
    """A Tune callback that shows every trial's last report. Tune pickles it with the sweep, so that it opens its
    console only when the sweep begins.
    """

    def __init__(self, sweep: SweepPlan) -> None:
        self._names, self._objectives, self._trials = list(sweep.space), sweep.objectives, sweep.trials
        self._rows: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {}

    def setup(self, *_: Any, **__: Any) -> None:
        """Tune begins."""
        self._started = time.monotonic()
        self._console = Console(highlight=False, soft_wrap=True, markup=False)
        self._live = Live(console=self._console, refresh_per_second=2) if self._console.is_terminal else None
        if self._live:
            self._live.start()
            atexit.register(self._live.stop)  # Tune tells no callback of Ctrl-C

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial begins."""
        self._show(trial, RUNNING, {})

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial reported."""
        self._show(trial, RUNNING, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial ran to its end or was stopped early."""
        self._show(trial, "done" if trial.last_result.get("progress", 1) >= 1 else "stopped", trial.last_result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial failed and is started again."""
        self._show(trial, "again", trial.last_result or {})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial failed."""
        self._show(trial, "failed", trial.last_result or {})

    def on_experiment_end(self, trials: list[Any], **_: Any) -> None:
        """Tune ends."""
        if self._live:
            self._live.stop()

    def _show(self, trial: Any, state: str, result: dict[str, Any]) -> None:
        self._rows[trial.trial_id] = (state, trial.config, result)
        if self._live:
            self._live.update(self._table())
        else:
            self._console.print(f"trial {trial.trial_id}: {self._line(state, trial.config, result)}", highlight=False)

    def _table(self) -> Table:
        done = sum(state not in (RUNNING, "again") for state, _, _ in self._rows.values())
        seconds = time.monotonic() - self._started
        of, left = "", ""
        if self._trials:
            of = f" of {self._trials}"
            left = f", about {seconds / done * (self._trials - done):.0f} s left" if done else ""
        table = Table(title=f"sweep: {done}{of} trials done{left}")
        for column in ("rank", "trial", *map(label, self._names), "epoch", *self._objectives, "state", "time left"):
            table.add_column(column)
        objective = self._objectives[0]
        sign = -1 if objective in MINIMISED else 1
        ordered = sorted(self._rows.items(), key=lambda row: -sign * row[1][2].get(objective, -sign * float("inf")))
        for rank, (trial_id, (state, config, result)) in enumerate(ordered, start=1):
            cells = cells_of(config, result, self._names, self._objectives)
            table.add_row(str(rank), trial_id, *cells, state, _left(result) if state == RUNNING else "")
        return table

    def _line(self, state: str, config: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        *values, epoch, first = cells_of(config, result, self._names, self._objectives[:1])
        chosen = [f"{label(name)} {value}" for name, value in zip(self._names, values, strict=True) if value]
        progress = [f"epoch {epoch}", f"{self._objectives[0]} {first}"] if first else []
        return ", ".join([state, *chosen, *progress])


def ranking_table(trials: Sequence[Trial], objectives: Sequence[str]) -> Table:
    """The final ranking."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.config))
    shown = [*objectives, *(each for each in ("recall@20",) if each not in objectives)]
    table = Table(title="ranking by validation")
    for column in ("rank", "trial", *map(label, names), "epoch", *shown, "state"):
        table.add_column(column)
    for rank, trial in enumerate(trials, start=1):
        cells = map(escape, cells_of(trial.config, trial.metrics, names, shown))
        table.add_row(str(rank), trial.id, *cells, state_of(trial))
    return table


def state_of(trial: Trial) -> str:
    """ "failed", "stopped" early, or "done"."""
    if trial.state == "ERROR":
        return "failed"
    return "done" if trial.metrics.get("progress", 0) >= 1 else "stopped"


def label(name: str) -> str:
    """What people call a setting."""
    return LABELS.get(name, name.split(".")[-1].replace("_", " "))


def shown(value: Any) -> str:
    """A setting's value in few letters."""
    if isinstance(value, list | tuple):
        return " + ".join(map(shown, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def cells_of(
    config: Mapping[str, Any], result: Mapping[str, Any], names: Sequence[str], objectives: Sequence[str]
) -> list[str]:
    """The settings by name, the epoch, the objectives; what is missing stays empty."""
    values = [shown(config[name]) if name in config else "" for name in names]
    epoch = f"{result['epoch']:.2g}" if "epoch" in result else ""
    return [*values, epoch, *(_measured(result[each]) if each in result else "" for each in objectives)]


def _measured(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4f}"


def _left(result: Mapping[str, Any]) -> str:
    if not result.get("progress"):
        return ""
    return f"{result['time_total_s'] * (1 / result['progress'] - 1):.0f} s"
