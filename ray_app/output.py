"""What commands print: words for people on standard error or out, one JSON line for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(highlight=False, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 120)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line for people."""
    console.print(text, markup=False)


def emit(result: Mapping[str, Any], as_json: bool) -> None:
    """The last line of standard output, with --json."""
    if as_json:
        sys.stdout.write(json.dumps(result, default=str) + "\n")
        sys.stdout.flush()


def metrics_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Metrics by method, the best of each column in bold."""
    names = list(next(iter(rows.values())))
    table = Table(title=title)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    best = {name: max(row[name] for row in rows.values()) for name in names}
    for method, row in rows.items():
        cells = [f"[bold]{row[name]:.4f}[/bold]" if row[name] == best[name] else f"{row[name]:.4f}" for name in names]
        table.add_row(method, *cells)
    return table
