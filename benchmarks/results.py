"""Folders of results that a stopped benchmark goes on with."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MADE_OF = "made-of.json"


def made_of(out: Path, arguments: Mapping[str, Any]) -> None:
    """Notes what a folder's results are made of, or ends the process where what is there was made of something else."""
    note = out / MADE_OF
    if not note.is_file():
        out.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(arguments, indent=2))
    elif (before := json.loads(note.read_text())) != arguments:
        other = [name for name, value in arguments.items() if before.get(name) != value]
        sys.exit(f"{out} holds results of another {', '.join(other)} ({MADE_OF}): give another --out")
