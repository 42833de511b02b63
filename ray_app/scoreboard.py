"""An evaluation on the terminal, from the report that `evaluate --json` prints."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from demand.comparison import MODEL
from demand.questions import HORIZON, NEXT, PARTS

LEGEND = "+ the model leads, - it is behind, = too close to call (95 %, paired bootstrap)"
SLICE_METRIC = "ndcg@10"


def show(report: Mapping[str, Any], console: Console) -> None:
    """Prints all tables of a report, none wider than 100 columns where method names are short."""
    for part in asked(report):
        console.print(methods_table(report, part))
    for part in asked(report):
        console.print(slices_table(report, part))
    for part in report["unseen"]:
        console.print(unseen_table(report, part))
    console.print(chances_table(report))
    for what, facts in report.get("demand", {}).items():
        error = f", items' errors {facts['wape']:.1%} of that" if "wape" in facts else ""
        console.print(
            f"{title(report, HORIZON)}, {what}: expected {facts['expected']:,.0f}, bought {facts['bought']:,.0f}{error}"
        )
    if orders := report.get("orders"):
        auc = f"AUC {orders['auc']:.4f}, " if "auc" in orders else ""
        console.print(
            f"{title(report, HORIZON)}, an order at all: {orders['ordered']:.1%} of {orders['customers']:,} customers; "
            f"{auc}log loss {orders['log_loss']:.4f}, calibration error {orders['ece']:.2%}"
        )


def asked(report: Mapping[str, Any]) -> list[str]:
    """The questions of a report."""
    return [part for part in PARTS if part in report]


def title(report: Mapping[str, Any], part: str) -> str:
    """What people call a question."""
    return "next order" if part == NEXT else f"{report['horizon_days']} days"


def verdict(lead: Mapping[str, float]) -> str:
    """ "+", "-" or "=": whether the model is ahead, by the interval of its lead."""
    return "+" if lead["low"] > 0 else "-" if lead["high"] < 0 else "="


def methods_table(report: Mapping[str, Any], part: str) -> Table:
    """Methods by metrics: the model with its intervals, others with the verdict on the model's lead over them; last
    what the literature reports, as published there."""
    since = f" from {report['cutoff'][:10]}" if report["cutoff"] else f", protocol {report['protocol']}"
    heading = f"{title(report, part)}: {report['customers']:,} customers{since}"
    table = Table(title=heading, caption=LEGEND if len(report[part]) > 1 else None)
    table.add_column("")
    metrics = list(report[part][MODEL])
    best = {key: max(row[key] for row in report[part].values()) for key in metrics}
    for key in metrics:
        table.add_column(key)
    for name, row in report[part].items():
        leads = report["differences"][part].get(name)
        cells = []
        for key in metrics:
            number = f"[bold]{row[key]:.4f}[/bold]" if row[key] == best[key] else f"{row[key]:.4f}"
            cells.append(f"{number} {verdict(leads[key])}" if leads else number)
        table.add_row(name, *cells)
        if name == MODEL:
            ends = report["intervals"][part][name]
            table.add_row(
                "  95 % interval", *(f"{ends[key][0]:.3f}-{ends[key][1]:.3f}" for key in metrics), style="dim"
            )
    for name, row in report.get("published", {}).items():
        table.add_row(f"{name} (published)", *(f"{row[key]:.4f}" for key in metrics), style="italic")
    return table


def best_other(slice_report: Mapping[str, Any]) -> str | None:
    """The method with the highest SLICE_METRIC that is not the model."""
    others = {name: row[SLICE_METRIC] for name, row in slice_report["methods"].items() if name != MODEL}
    return max(others, key=lambda name: others[name]) if others else None


def slices_table(report: Mapping[str, Any], part: str) -> Table:
    """The model and the best other method on each slice."""
    table = Table(title=f"{title(report, part)}, slices by {SLICE_METRIC}")
    for column in ("", "customers", "model", "best other", "lead"):
        table.add_column(column, justify="right" if column in ("customers", "model") else "left")
    for name, each in report["slices"][part].items():
        other = best_other(each)
        cells = ["", ""]
        if other:
            lead = each["differences"][other][SLICE_METRIC]
            cells = [
                f"{each['methods'][other][SLICE_METRIC]:.4f} {other}",
                f"{lead['mean']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f}) {verdict(lead)}",
            ]
        table.add_row(name, f"{each['customers']:,}", f"{each['methods'][MODEL][SLICE_METRIC]:.4f}", *cells)
    return table


def unseen_table(report: Mapping[str, Any], part: str) -> Table:
    """How the items that nobody had bought before are ranked among themselves."""
    found = report["unseen"][part]
    heading = f"{title(report, part)}: {found['items']:,} items that nobody had bought before, among themselves"
    metrics = list(found["methods"][MODEL])
    table = Table("", *metrics, title=heading, caption=f"by {found['customers']:,} customers who bought one")
    for name, row in found["methods"].items():
        leads = found["differences"].get(name)
        table.add_row(name, *(f"{row[key]:.4f}" + (f" {verdict(leads[key])}" if leads else "") for key in metrics))
    return table


def calibrations(report: Mapping[str, Any], part: str) -> dict[str, Mapping[str, Any]]:
    """By method what came of its probabilities, the model first."""
    others = {name: each[part] for name, each in report["calibration_of"].items()}
    return {MODEL: report["calibration"][part], **others}


def chances_table(report: Mapping[str, Any]) -> Table:
    """How far probabilities can be believed, and what the ten first items are worth."""
    table = Table(title="probabilities, and the ten first items")
    for column in ("", "", "error, shown", "error, all", "Brier", "log loss", "converted", "money met"):
        table.add_column(column, justify="left" if not column else "right")
    for part in asked(report):
        for name, found in calibrations(report, part).items():
            shown, every, worth = found["top20"], found["all"], report["business"][part][name]
            table.add_row(
                title(report, part) if name == MODEL else "",
                name,
                f"{shown['ece']:.2%}",
                f"{every['ece']:.3%}",
                f"{every['brier']:.5f}",
                f"{every['log_loss']:.5f}",
                f"{worth['conversion@10']:.1%}",
                f"{worth['captured@10']:.1%}" if "captured@10" in worth else "",
            )
    return table


def signals_table(found: Mapping[str, Any]) -> Table:
    """What a pass of 'demandcast watch' compared, a verdict a signal."""
    start, end = (each[:10] for each in found["window"])
    table = Table("signal", "verdict", "", title=f"{found['model']}: {start} to {end}, against what it learned from")
    for name in ("value", "by chance", "notice", "act"):
        table.add_column(name, justify="right")
    for each in found["signals"]:
        limits = each["limits"]
        numbers = (each["value"], each["chance"], limits["notice"], limits["act"])
        table.add_row(each["name"], each["verdict"], each["text"], *(f"{number:.3f}" for number in numbers))
    return table
