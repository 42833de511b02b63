"""What commands print: words for people on standard error or out, one JSON line for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

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
