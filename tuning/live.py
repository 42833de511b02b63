"""The live table of a sweep: one row a trial, best first; plain lines where there is no terminal."""

import time
from typing import Any

from ray import tune
from rich.console import Console
from rich.live import Live
from rich.table import Table

from training.job import VALIDATION_METRIC
from tuning.sweep import FORMAT, RATE, Trial


class LiveTable(tune.Callback):
    """A Tune callback that shows every trial's last report. Tune pickles it with the sweep, so that it opens its
    console only when the sweep begins.
    """

    def __init__(self, trials: int) -> None:
        self._trials = trials
        self._rows: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {}
        self._started = time.monotonic()

    def setup(self, *_: Any, **__: Any) -> None:
        """Tune begins."""
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, refresh_per_second=2) if self._console.is_terminal else None
        if self._live:
            self._live.start()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial begins."""
        self._show(trial, "running", {})

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial reported."""
        self._show(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial ran to its end or was stopped early."""
        self._show(trial, "done", trial.last_result)

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
            self._console.print(f"trial {trial.trial_id}: {_line(state, trial.config, result)}", highlight=False)

    def _table(self) -> Table:
        done = sum(state != "running" for state, _, _ in self._rows.values())
        seconds = time.monotonic() - self._started
        left = f", about {seconds / done * (self._trials - done):.0f} s left" if done else ""
        table = Table(title=f"sweep: {done} of {self._trials} trials done{left}")
        for column in ("rank", "trial", "learning rate", "prompt format", "epoch", VALIDATION_METRIC, "state"):
            table.add_column(column)
        ranked = sorted(self._rows.items(), key=lambda row: -row[1][2].get(VALIDATION_METRIC, -1.0))
        for rank, (trial_id, (state, config, result)) in enumerate(ranked, start=1):
            table.add_row(str(rank), trial_id, *_cells(config, result), state)
        return table


def ranking_table(trials: list[Trial]) -> Table:
    """The final ranking."""
    table = Table(title="ranking by validation")
    for column in ("rank", "trial", "learning rate", "prompt format", "epoch", VALIDATION_METRIC, "recall@20", "state"):
        table.add_column(column)
    for rank, trial in enumerate(trials, start=1):
        recall = trial.metrics.get("recall@20")
        cells = _cells(trial.config, trial.metrics)
        table.add_row(str(rank), trial.id, *cells, "" if recall is None else f"{recall:.4f}", trial.state.lower())
    return table


def _cells(config: Any, result: Any) -> tuple[str, str, str, str]:
    metric = result.get(VALIDATION_METRIC)
    epoch = result.get("epoch")
    return (
        f"{config[RATE]:.2e}",
        config[FORMAT],
        "" if epoch is None else f"{epoch:.2g}",
        "" if metric is None else f"{metric:.4f}",
    )


def _line(state: str, config: Any, result: Any) -> str:
    rate, prompt_format, epoch, metric = _cells(config, result)
    progress = f", epoch {epoch}, {VALIDATION_METRIC} {metric}" if metric else ""
    return f"{state}, learning rate {rate}, format {prompt_format}{progress}"
