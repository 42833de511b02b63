"""How many replicas there are: as many as the requests want."""

from dataclasses import dataclass
from typing import Any

from demand.errors import SettingsError

SURGE_PERCENT = 25
"""More replicas than usual while all are replaced: at least one, so that no place is empty."""


@dataclass(frozen=True)
class Scaling:
    """Between which numbers replicas follow the load, and how fast.

    Attributes:
        least, most: replicas. With a least of 0 the last one ends when nothing was asked for `down_seconds`, and the
            next request waits until there is one again.
        requests: at once, for which one replica is enough.
        up_seconds, down_seconds: for which there must have been more or fewer.
    """

    least: int = 1
    most: int = 1
    requests: float = 16.0
    up_seconds: float = 10.0
    down_seconds: float = 300.0

    def __post_init__(self) -> None:
        """Raises SettingsError for what is no range."""
        if not 0 <= self.least <= self.most or not self.most:
            raise SettingsError(
                f"replicas {self.least} to {self.most}: the most is 1 or more, the least 0 or more and not above it"
            )

    @property
    def sleeps(self) -> bool:
        """Whether there may be no replica at all."""
        return self.least == 0

    def options(self, start: bool) -> dict[str, Any]:
        """As Ray Serve's autoscaling_config.

        Args:
            start: whether there are none yet; one is always started, to see whether it can.
        """
        return {
            "min_replicas": self.least,
            "max_replicas": self.most,
            "initial_replicas": max(self.least, 1) if start else None,
            "target_ongoing_requests": self.requests,
            "upscale_delay_s": self.up_seconds,
            "downscale_delay_s": self.down_seconds,
            "look_back_period_s": min(max(self.up_seconds, 1.0), 30.0),
        }
