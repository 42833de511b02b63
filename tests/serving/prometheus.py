"""What Prometheus would read."""

import time
from collections.abc import Callable

import httpx
import ray

SOON_SECONDS = 120


def scraped() -> str:
    """All that the node tells Prometheus."""
    (node,) = (each for each in ray.nodes() if each["Alive"])
    return httpx.get(
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=SOON_SECONDS
    ).text


def counted(text: str, name: str, **labels: str) -> float:
    """The sum of a metric over its series that have these labels."""
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    has = [line for line in lines if all(f'{key}="{value}"' in line for key, value in labels.items())]
    return sum(float(line.rpartition(" ")[2]) for line in has)


def soon(seen: Callable[[], bool]) -> None:
    """Until it is seen; Ray hands its metrics on every few seconds."""
    end = time.monotonic() + SOON_SECONDS
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.5)
