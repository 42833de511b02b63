"""The report page of a sweep."""

import warnings
from collections.abc import Mapping, Sequence

import optuna
import plotly.graph_objects as go

from ray_app.reports.page import Grid, Page, Section
from ray_app.reports.sweep_figures import (
    against_rate,
    importance,
    learning_curves,
    parallel_coordinates,
    trade_off,
)
from tuning.differences import Difference, best_of_two_formats, differences
from tuning.live import cells_of, label, shown, state_of
from tuning.plan import MINIMISED, SweepPlan, Trial
from tuning.search import study_of
from tuning.space import FORMAT, RATE

EXAMPLES, ITEMS = 4, 6
FEWEST = 8
"""Trials below which nothing is said about what mattered."""


def sweep_page(name: str, sweep: SweepPlan, trials: Sequence[Trial]) -> Page:
    """Everything that a sweep found. `trials`: best first, one of them with a result at least."""
    winner, objective = trials[0], sweep.objectives[0]
    settings = ", ".join(f"{label(each)} {shown(value)}" for each, value in winner.config.items())
    states = [state_of(trial) for trial in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "stopped", "failed") if state in states)
    searched = f"search: {sweep.search}; stopping: {sweep.stopping}"
    spent = sum(trial.metrics.get("progress", 0.0) for trial in trials)
    facts = [
        f"{len(trials)} trials: {counts}",
        f"together as long as {spent:.1f} full ones",
        f"best: {settings}, {objective} {winner.metrics[objective]:.4f}",
        searched,
    ]
    return Page(f"{name}: sweep", facts, [_found(sweep, trials), _ranking(sweep, trials), *_differences(sweep, trials)])


def _found(sweep: SweepPlan, trials: Sequence[Trial]) -> Section:
    objective = sweep.objectives[0]
    figures: list[go.Figure] = []
    if RATE in sweep.space:
        figures.append(against_rate(trials, objective))
    figures.append(learning_curves(trials, objective))
    if len(sweep.objectives) > 1:
        figures.append(trade_off(trials, sweep.objectives))
    searched = [name for name in sweep.space if len({shown(trial.config.get(name)) for trial in trials}) > 1]
    if searched:
        figures.append(parallel_coordinates(trials, searched, objective))
    if shares := importances(sweep, trials):
        figures.append(importance(shares))
    text = (
        "By validation. Trials that were stopped early show what they had reached by then. What mattered: the share of "
        "the differences between trials that each setting explains (PED-ANOVA), of settings that every trial has."
    )
    return Section("What was found", text, figures)


def importances(sweep: SweepPlan, trials: Sequence[Trial]) -> Mapping[str, float]:
    """By setting, the share of the differences that it explains (Watanabe et al. 2023, PED-ANOVA); nothing where the
    trials are too few or do not differ."""
    study = study_of(trials, sweep)
    if len(study.trials) < FEWEST:
        return {}
    sign = 1 if sweep.objectives[0] in MINIMISED else -1  # it explains what is low
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # which says so, whatever the target is
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            found = optuna.importance.get_param_importances(
                study, evaluator=evaluator, target=lambda trial: sign * float(trial.values[0])
            )
        except (ValueError, RuntimeError):  # no trial stands out
            return {}
    always = {name: share for name, share in found.items() if not sweep.space[name].when}
    return always if sum(always.values()) > 0 else {}


def _ranking(sweep: SweepPlan, trials: Sequence[Trial]) -> Section:
    names = list(sweep.space)
    rows = [
        [str(rank), trial.id, *cells_of(trial.config, trial.metrics, names, sweep.objectives), state_of(trial)]
        for rank, trial in enumerate(trials, start=1)
    ]
    columns = ["rank", "trial", *map(label, names), "epoch", *sweep.objectives, "state"]
    return Section("Ranking", "", (), [Grid(columns, rows)])


def _differences(sweep: SweepPlan, trials: Sequence[Trial]) -> list[Section]:
    pair = best_of_two_formats(trials)
    if pair is None:
        return []
    names = [str(trial.config[FORMAT]) for trial in pair]
    grids = [
        _examples(found, names, f"{names[place]} foresaw more")
        for place, found in enumerate(differences(sweep.plan, pair, EXAMPLES))
        if found
    ]
    lengths = " and ".join(
        f"{trial.metrics['epoch']:.2g} epochs of {name}" for trial, name in zip(pair, names, strict=True)
    )
    text = (
        f"The best two prompt formats, {names[0]} and {names[1]}, after {lengths}: customers of validation of whom one "
        f"foresaw much more of the next order than the other. * was bought."
    )
    return [Section("Where the best two formats differ", text, (), grids)]


def _examples(found: Sequence[Difference], names: Sequence[str], title: str) -> Grid:
    rows = [
        [
            f"{each.orders} orders before",
            "\n".join(
                [*each.bought[:ITEMS], *([f"and {len(each.bought) - ITEMS} more"] if each.bought[ITEMS:] else [])]
            ),
            *("\n".join(_marked(answer[:ITEMS], each.bought)) for answer in each.answers),
            " against ".join(f"{score:.2f}" for score in each.scores),
        ]
        for each in found
    ]
    columns = ["customer", "bought next", *(f"{name} says" for name in names), "nDCG@10"]
    return Grid(columns, rows, title)


def _marked(answer: Sequence[str], bought: Sequence[str]) -> list[str]:
    return [f"{name} *" if name in bought else name for name in answer]
