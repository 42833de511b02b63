"""The command line. Exit codes: 0 done, 2 bad input or usage, 1 anything else."""

import logging
import os
import sys
import warnings

import typer
from typer.exceptions import TyperException

from demand.errors import DemandError
from ray_app.output import errors

INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


def main() -> None:
    """Runs the command line, every expected error as one line."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    warnings.filterwarnings("ignore")
    logging.captureWarnings(True)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a CUDA toolkit without a GPU is no news
    from ray_app.commands import application

    try:
        code = application()(standalone_mode=False)
    except DemandError as error:
        _fail(str(error), 2)
    except TyperException as error:
        _fail(getattr(error, "format_message", error.__str__)(), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 1)
    except Exception as error:
        if os.environ.get("DEMANDCAST_TRACEBACK"):
            raise
        _fail(f"{type(error).__name__}: {_short(error)} (DEMANDCAST_TRACEBACK=1 shows more)", 1)
    if code == INTERRUPTED:
        _fail("interrupted", 1)
    sys.exit(code)


def _short(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else "no message"


def _fail(message: str, code: int) -> None:
    if message := " ".join(message.split()):  # there is none where help was printed instead
        errors.print(f"demandcast: {message}", markup=False, style=None)
    sys.exit(code)


if __name__ == "__main__":
    main()
