"""The command line in this process, or in one of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from ray_app.cli import main


def demandcast(*arguments: object, home: Path, code: int = 0) -> tuple[str, str]:
    """Runs a command in this process, on the tests' Ray cluster where it needs one, and returns what it printed."""
    exited = 0
    with (
        mock.patch.dict(os.environ, {"DEMANDCAST_HOME": str(home)}),
        mock.patch.object(sys, "argv", ["demandcast", *map(str, arguments)]),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            main()
        except SystemExit as exit_:
            exited = int(exit_.code or 0)
    assert exited == code, out.getvalue() + err.getvalue()
    return out.getvalue(), err.getvalue()


def last_json(out: str) -> dict:
    return json.loads(out.strip().splitlines()[-1])


def start(*arguments: object, home: Path) -> subprocess.Popen:
    """A process of its own, for signals."""
    return subprocess.Popen(
        [sys.executable, "-m", "ray_app.cli", *map(str, arguments)],
        env={**os.environ, "DEMANDCAST_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
