"""The state folder, and what lies where in it."""

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """`.demandcast/` in the working folder, or DEMANDCAST_HOME."""

    folder: Path

    @classmethod
    def here(cls) -> "Home":
        return cls(Path(os.environ.get("DEMANDCAST_HOME", ".demandcast")).resolve())

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def sweeps(self) -> Path:
        return self.folder / "sweeps"

    @property
    def baselines(self) -> Path:
        """Settings that baselines were tuned to."""
        return self.folder / "baselines"

    @property
    def keys(self) -> Path:
        """API keys."""
        return self.folder / "keys.sqlite"

    @property
    def models(self) -> Path:
        return self.folder / "models"


def fresh_name(kind: str) -> str:
    """A name for a run or a sweep that sorts by time: train-20261124-160512-3f9a."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
