"""The figures of an evaluation report. Text from data is escaped: Plotly takes some HTML in labels."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from demand.comparison import MODEL

ACCENT = "#c2410c"
OTHERS = ("#475569", "#2563eb", "#0d9488", "#7c3aed", "#65a30d", "#be185d", "#0ea5e9", "#a16207")
_GRID = "#e5eaf0"


def colours(names: Sequence[str]) -> dict[str, str]:
    """The model's colour stands out; every other method keeps one colour in all figures."""
    others = [name for name in names if name != MODEL]
    return {MODEL: ACCENT, **{name: OTHERS[place % len(OTHERS)] for place, name in enumerate(others)}}


def quality(means: Mapping[str, Mapping[str, float]], ends: Mapping[str, Any], metric: str, title: str) -> go.Figure:
    """One metric of each method with its interval, the best on top."""
    names = sorted(means, key=lambda name: means[name][metric])
    paint = colours(list(means))
    values = [means[name][metric] for name in names]
    figure = go.Figure(
        go.Scatter(
            x=values,
            y=[escape(name) for name in names],
            mode="markers",
            marker={"size": 11, "color": [paint[name] if name == MODEL else OTHERS[0] for name in names]},
            error_x=_errors(values, [ends[name][metric] for name in names]),
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        )
    )
    figure.update_yaxes(type="category")
    return styled(figure, title, height=110 + 34 * len(names), legend=False)


def by_slice(slices: Mapping[str, Mapping[str, Any]], methods: Sequence[str], metric: str, title: str) -> go.Figure:
    """One metric of each method on each slice, with intervals; the first slice and the first method on top."""
    figure = go.Figure()
    paint = colours(methods)
    shown = dict(reversed(list(slices.items())))
    for place, name in enumerate(reversed(methods)):
        values = [each["methods"][name][metric] for each in shown.values()]
        figure.add_scatter(
            x=values,
            y=[f"{slice_name}<br>{each['customers']:,} customers" for slice_name, each in shown.items()],
            name=escape(name),
            mode="markers",
            orientation="h",
            marker={"size": 10 if name == MODEL else 7, "color": paint[name]},
            error_x=_errors(values, [each["intervals"][name][metric] for each in shown.values()]),
            hovertemplate="%{x:.4f}",
            legendrank=len(methods) - place,
        )
    figure.update_layout(scattermode="group", scattergap=0.25)
    figure.update_xaxes(rangemode="tozero")
    return styled(figure, title, height=130 + (30 + 14 * len(methods)) * len(slices))


def reliability_diagram(bins: Sequence[Mapping[str, float]], title: str, logarithmic: bool) -> go.Figure:
    """Predicted chance against how often it came, in bins of equal number, with the diagonal of perfect chances."""
    drawn = [each for each in bins if not logarithmic or (each["predicted"] > 0 and each["happened"] > 0)]
    predicted, happened = [each["predicted"] for each in drawn], [each["happened"] for each in drawn]
    low = min([*predicted, *happened], default=1e-6) if logarithmic else 0.0
    high = max([*predicted, *happened], default=1.0) * 1.05
    figure = go.Figure(go.Scatter(x=[low, high], y=[low, high], mode="lines", line={"color": "#94a3b8", "dash": "dot"}))
    figure.add_scatter(
        x=predicted,
        y=happened,
        mode="lines+markers",
        line={"color": ACCENT, "width": 1},
        marker={"size": 7},
        customdata=[each["count"] for each in drawn],
        hovertemplate="predicted %{x:.4%}<br>bought %{y:.4%}<br>%{customdata:,} pairs<extra></extra>",
    )
    form = {"type": "log", "dtick": 1, "tickformat": "~p"} if logarithmic else {"tickformat": ".0%"}
    figure.update_xaxes(title="predicted", **form)
    figure.update_yaxes(title="really bought", **form)
    return styled(figure, title, height=400, legend=False)


def totals_scatter(names: Sequence[str], expected: np.ndarray, bought: np.ndarray, title: str) -> go.Figure:
    """Each item's total as expected and as bought, on logarithmic axes; items with either at 0 cannot be drawn."""
    drawn = (expected > 0) & (bought > 0)
    x, y = bought[drawn], expected[drawn]
    ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))] if len(x) else [0.1, 10.0]
    figure = go.Figure(
        go.Scatter(x=ends, y=ends, mode="lines", line={"color": "#94a3b8", "dash": "dot"}, hoverinfo="skip")
    )
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"size": 6, "color": ACCENT, "opacity": 0.4},
        text=[escape(name) for name, kept in zip(names, drawn, strict=True) if kept],
        hovertemplate="%{text}<br>bought %{x:,.1f}<br>expected %{y:,.1f}<extra></extra>",
    )
    figure.update_xaxes(title="bought", type="log", dtick=1)
    figure.update_yaxes(title="expected", type="log", dtick=1)
    return styled(figure, title, height=420, legend=False)


def _errors(values: Sequence[float], ends: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value for value, (_, high) in zip(values, ends, strict=True)],
        "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=True)],
        "thickness": 1.2,
        "width": 4,
    }


def styled(figure: go.Figure, title: str, height: int, legend: bool = True) -> go.Figure:
    """A figure as all are drawn: fonts, margins, grid, and the legend below."""
    figure.update_layout(
        template="plotly_white",
        title={"text": title, "font": {"size": 15}, "x": 0, "xref": "container", "xanchor": "left"},
        height=height,
        margin={"l": 8, "r": 12, "t": 44, "b": 8},
        font={"family": "system-ui, sans-serif", "size": 12},
        showlegend=legend,
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(automargin=True, gridcolor=_GRID)
    figure.update_yaxes(automargin=True, gridcolor=_GRID)
    return figure
