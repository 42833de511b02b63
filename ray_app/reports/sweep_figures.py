"""The figures of a sweep's report."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from ray_app.reports.figures import ACCENT, OTHERS, styled
from tuning.live import label, shown, state_of
from tuning.plan import Trial
from tuning.space import FORMAT, RATE

SYMBOLS = {"done": "circle", "stopped": "circle-open", "failed": "x"}


def group(trial: Trial) -> str:
    """What a trial is coloured by: its prompt format, where they are searched."""
    return str(trial.config.get(FORMAT, "trials"))


def colours(trials: Sequence[Trial]) -> dict[str, str]:
    """A colour for each group; the winner's stands out."""
    names = list(dict.fromkeys(group(trial) for trial in trials))
    return dict(zip(names, (ACCENT, *OTHERS[: len(names)]), strict=False))


def against_rate(trials: Sequence[Trial], objective: str) -> go.Figure:
    """The objective by learning rate: full where a trial ran to its end, open where it was stopped early."""
    rates = {trial.id: trial.config[RATE] for trial in trials if RATE in trial.config}
    figure = _scatter(trials, rates, objective, "by learning rate; open: stopped early")
    return figure.update_xaxes(title="learning rate", type="log")


def trade_off(trials: Sequence[Trial], objectives: Sequence[str]) -> go.Figure:
    """The first objective against the second."""
    first, second = objectives[:2]
    values = {trial.id: trial.metrics[second] for trial in trials if second in trial.metrics}
    return _scatter(trials, values, first, f"{first} against {second}").update_xaxes(title=second)


def _scatter(trials: Sequence[Trial], across: Mapping[str, float], objective: str, title: str) -> go.Figure:
    """A point for each trial: the objective over what `across` says of it, by its id."""
    figure = go.Figure()
    for name, colour in colours(trials).items():
        rows = [each for each in trials if group(each) == name and each.id in across and objective in each.metrics]
        figure.add_scatter(
            x=[across[each.id] for each in rows],
            y=[each.metrics[objective] for each in rows],
            mode="markers",
            name=escape(name),
            marker={"size": 11, "color": colour, "symbol": [SYMBOLS[state_of(each)] for each in rows]},
            text=[hover(each) for each in rows],
            hovertemplate="%{text}<br>%{x:.4g}: %{y:.4f}<extra></extra>",
        )
    figure.update_yaxes(title=objective)
    return styled(figure, title, height=420)


def learning_curves(trials: Sequence[Trial], objective: str) -> go.Figure:
    """The objective after each report of each trial."""
    figure = go.Figure()
    paint = colours(trials)
    seen: set[str] = set()
    for each in trials:
        name = group(each)
        figure.add_scatter(
            x=[epoch for epoch, _ in each.curve],
            y=[value for _, value in each.curve],
            mode="lines+markers",
            name=escape(name),
            legendgroup=name,
            showlegend=name not in seen,
            line={"color": paint[name], "width": 3 if each is trials[0] else 1},
            marker={"size": 5, "color": paint[name]},
            text=[hover(each)] * len(each.curve),
            hovertemplate="%{text}<br>epoch %{x:.2f}: %{y:.4f}<extra></extra>",
        )
        seen.add(name)
    figure.update_xaxes(title="epoch", rangemode="tozero")
    figure.update_yaxes(title=objective)
    return styled(figure, "learning curves; thick: the winner", height=420)


def parallel_coordinates(trials: Sequence[Trial], names: Sequence[str], objective: str) -> go.Figure:
    """A line for each trial with a result, through its settings to the objective."""
    rows = [each for each in trials if objective in each.metrics]
    dimensions = [_dimension(label(name), [each.config.get(name) for each in rows]) for name in names]
    scores = [each.metrics[objective] for each in rows]
    dimensions.append({"label": objective, "values": scores, "tickformat": ".3f"})
    scale = [[0, "#cbd5e1"], [1, ACCENT]]
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line={"color": scores, "colorscale": scale}))
    styled(figure, "settings of each trial", height=400, legend=False)
    return figure.update_layout(margin={"l": 60, "r": 60, "t": 80, "b": 24})


def importance(shares: Mapping[str, float]) -> go.Figure:
    """How much of the differences each setting explains, the most on top."""
    ordered = sorted(shares.items(), key=lambda each: each[1])
    figure = go.Figure(
        go.Bar(
            x=[share for _, share in ordered],
            y=[escape(label(name)) for name, _ in ordered],
            orientation="h",
            marker={"color": OTHERS[0]},
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    return styled(figure, "what mattered", height=110 + 34 * len(ordered), legend=False)


def hover(trial: Trial) -> str:
    """A trial in words."""
    settings = [f"{label(name)} {shown(value)}" for name, value in trial.config.items()]
    return escape(", ".join([trial.id, *settings, state_of(trial)])).replace(", ", "<br>")


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """An axis: numbers by their size, by the logarithm where they are all positive and far apart; words in a row; a
    setting that a trial does not have at the bottom."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        words = sorted({"" if value is None else shown(value) for value in values})
        places = [words.index("" if value is None else shown(value)) for value in values]
        return {"label": name, "values": places, "tickvals": list(range(len(words))), "ticktext": words}
    if min(numbers) > 0 and max(numbers) / min(numbers) > 10:
        low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers)))
        ticks = list(range(low, high + 1))
        texts = [f"{10.0**tick:g}" for tick in ticks]
        return {
            "label": name,
            "values": [math.log10(value) for value in numbers],
            "range": [low, high],
            "tickvals": ticks,
            "ticktext": texts,
        }
    return {"label": name, "values": numbers}
