"""The report page of a pass of `demandcast watch`."""

from collections.abc import Mapping
from html import escape
from typing import Any

import plotly.graph_objects as go

from demand.comparison import MODEL
from demand.stability import CHANCE
from modeling.registry import CHAMPION
from ray_app.reports.figures import ACCENT, OTHERS, reliability_diagram, styled
from ray_app.reports.page import Grid, Page, Section
from ray_app.scoreboard import LEGEND, asked, title, verdict

COLOURS = {"steady": OTHERS[2], "notice": OTHERS[7], "act": ACCENT}


def watch_page(found: Mapping[str, Any]) -> Page:
    """What a pass found and did, as a page. `found` is what `watch --json` prints."""
    start, end = (each[:10] for each in found["window"])
    facts = [f"newest days: {start} to {end}", f"{found['outcome']}: {found['why']}"]
    sections = [_signals(found["signals"])]
    if found["evaluation"]:
        sections.append(_chances(found["evaluation"]))
    if found["duel"]:
        sections.append(_duel(found["challenger"], found["model"], found["duel"]))
    return Page(f"{found['model']}: watched", facts, sections)


def _signals(signals: list[Mapping[str, Any]]) -> Section:
    shown = list(reversed(signals))
    figure = go.Figure(
        go.Bar(
            x=[max(each["value"], 0) / each["limits"]["act"] for each in shown],
            y=[escape(each["name"]) for each in shown],
            orientation="h",
            marker={"color": [COLOURS[each["verdict"]] for each in shown]},
            hovertemplate="%{y}: %{x:.2f} of the limit<extra></extra>",
        )
    )
    figure.add_vline(x=1, line={"color": ACCENT, "dash": "dot"})
    figure = styled(
        figure, "each signal, as a share of the limit past which one acts", 110 + 28 * len(shown), legend=False
    )
    rows = [
        [
            each["name"],
            each["verdict"],
            each["text"],
            *(f"{number:.4f}" for number in (each["value"], each["chance"], *each["limits"].values())),
        ]
        for each in signals
    ]
    text = (
        "Populations are compared by their stability index (PSI) with those of the training period, quality with the "
        f"model's own validation. By chance: what a value stays below in {CHANCE:.0%} of samples of this size where "
        "nothing has changed; a value below it is steady, however large."
    )
    return Section("Signals", text, [figure], [Grid(["", "verdict", "", "value", "by chance", "notice", "act"], rows)])


def _chances(report: Mapping[str, Any]) -> Section:
    figures = [
        reliability_diagram(report["calibration"][part]["all"]["bins"], title(report, part), logarithmic=True)
        for part in asked(report)
    ]
    return Section("Can the probabilities still be believed?", "", figures)


def _duel(challenger: str, champion: str, report: Mapping[str, Any]) -> Section:
    tables = []
    for part in asked(report):
        methods, leads = report[part], report["differences"][part][CHAMPION]
        rows = [
            [
                metric,
                f"{methods[MODEL][metric]:.4f}",
                f"{methods[CHAMPION][metric]:.4f}",
                f"{lead['mean']:+.4f} {verdict(lead)} ({lead['low']:+.4f} to {lead['high']:+.4f})",
            ]
            for metric, lead in leads.items()
        ]
        tables.append(Grid(["", challenger, champion, "lead"], rows, title(report, part)))
    text = f"{report['customers']:,} customers, asked about days that neither has seen. {LEGEND}"
    return Section("Challenger against champion", text, (), tables)
