"""The state folder, and what lies where in it."""

import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demand.locations import Location, absolute, location


@dataclass(frozen=True)
class Home:
    """`.demandcast/` in the working folder, or what DEMANDCAST_HOME names: a path, or a URI as for any Location."""

    folder: Location

    @classmethod
    def here(cls) -> "Home":
        return cls(absolute(location(os.environ.get("DEMANDCAST_HOME") or ".demandcast")))

    @property
    def data(self) -> Location:
        return self.folder / "data"

    @property
    def runs(self) -> Location:
        return self.folder / "runs"

    @property
    def sweeps(self) -> Location:
        return self.folder / "sweeps"

    @property
    def watch(self) -> Location:
        """What passes of 'demandcast watch' found and did."""
        return self.folder / "watch"

    @property
    def baselines(self) -> Location:
        """Settings that baselines were tuned to."""
        return self.folder / "baselines"

    @property
    def keys(self) -> Path | None:
        """API keys; a remote folder can hold no file of them."""
        return self.folder / "keys.sqlite" if isinstance(self.folder, Path) else None

    @property
    def events(self) -> Path | None:
        """The log of events, where DEMANDCAST_EVENTS names no other; a remote folder can hold none."""
        return self.folder / "events.db" if isinstance(self.folder, Path) else None

    @property
    def models(self) -> Location:
        return self.folder / "models"


def fresh_name(kind: str) -> str:
    """A name for a run or a sweep that sorts by time: train-20261124-160512-3f9a."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
