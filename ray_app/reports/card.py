"""A model's card for people, as far as it goes: checkpoints of earlier versions say less."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

METRICS = ("recall@10", "ndcg@10")


def card_page(card: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Data, period, quality by slice, calibration and limits, one after the other."""
    if use := card.get("intended_use"):
        yield f"[bold]use[/] {escape(use)}"
    if data := card.get("data"):
        yield (
            f"[bold]data[/] {escape(data['source'])}: {data['customers']:,} customers, {data['orders']:,} orders "
            f"({data['content_hash'][:12]})"
        )
    if "trained_before" in card:
        first = (data or {}).get("first_order")
        learned = f"from {first} to" if first else "before"
        yield f"[bold]period[/] learned {learned} {card['trained_before']}, judged before {card['validated_before']}"
    for question, slices in card.get("quality", {}).items():
        yield _quality(question, slices)
    if (calibration := card.get("calibration")) and "reliability" in calibration:
        others = "customers it was not fitted to" if calibration["held_out"] else "the customers it was fitted to"
        yield _calibration(calibration["reliability"], others)
    if found := card.get("limits"):
        yield "\n".join(["[bold]limits[/]", *(f"- {escape(each)}" for each in found)])


def _quality(question: str, slices: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(title=f"{question.replace('_', ' ')}, validation", title_justify="left")
    for column in ("", "customers", *METRICS):
        table.add_column(column, justify="right" if column else "left")
    for name, each in slices.items():
        table.add_row(name, f"{each['customers']:,}", *(f"{each[metric]:.4f}" for metric in METRICS))
    return table


def _calibration(reliability: Mapping[str, Mapping[str, Any]], customers: str) -> Table:
    table = Table(title=f"chances, validation, {customers}", title_justify="left")
    for column in ("", "pairs", "calibration error", "Brier score", "log loss"):
        table.add_column(column, justify="right" if column else "left")
    for question, parts in reliability.items():
        for name, each in parts.items():
            numbers = (f"{each[key]:.4f}" for key in ("ece", "brier", "log_loss"))
            table.add_row(f"{question.replace('_', ' ')}, {name}", f"{each['pairs']:,}", *numbers)
    return table
