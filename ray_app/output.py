"""What commands print: words for people on standard error or out, one JSON line for programs."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from demand.errors import SettingsError
from demand.locations import Location, absolute, make_parent, reason

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


def check_file(option: str, file: Location) -> None:
    """Makes the folder of a file that an option names and that is to come, rather now than after the work.

    Raises:
        SettingsError: no file can be there.
    """
    written = absolute(file)  # where a link leads to
    try:
        make_parent(written)
    except OSError as error:
        raise SettingsError(f"{option} {file}: {reason(error)}") from None
    if file.is_dir():
        raise SettingsError(f"{option} {file} is a folder: name a file")
    if isinstance(written, Path) and not os.access(written.parent, os.W_OK):
        raise SettingsError(f"{option} {file}: nothing can be written there")
