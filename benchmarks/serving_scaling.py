"""How replicas follow the load: one client, then many, one again, nobody, and one who wakes what sleeps.

    .venv/bin/python -m benchmarks.serving_scaling --data DIR --model demand@champion --picture scaling.html

Draws requests a second, latency and replicas over time, and says how many requests failed.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks.serving import CUSTOMERS, Server, asking, demandcast, started
from demand.dataset import Dataset
from demand.moments import moment

PHASES = [(1, 20.0), (64, 60.0), (1, 50.0), (0, 40.0), (1, 30.0)]
"""Clients, and for how many seconds."""
SLEEPY = ["--min-replicas", "0", "--max-replicas", "2", "--up-seconds", "5", "--down-seconds", "15"]
STEP_SECONDS = 1.0


@dataclass
class Seen:
    """When requests ended, in seconds from the start, how long each took, and replicas over time."""

    ended: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    moments: list[float] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)


async def observed(server: Server, url: str) -> Seen:
    """All phases, one after the other."""
    seen, begin = Seen(), time.perf_counter()
    over = asyncio.Event()
    async with asking(server) as ask, aiohttp.ClientSession() as session:

        async def client(end: float) -> None:
            while (start := time.perf_counter()) < end:
                seen.statuses[await ask()] += 1
                now = time.perf_counter()
                seen.ended.append(now - begin)
                seen.took.append(now - start)

        async def watch() -> None:
            while not over.is_set():
                async with session.get(f"{url}/v1/status") as response:
                    status = await response.json()
                seen.moments.append(time.perf_counter() - begin)
                seen.replicas.append(status["replicas"].get("RUNNING", 0))
                await asyncio.sleep(STEP_SECONDS)

        watcher = asyncio.create_task(watch())
        for clients, seconds in PHASES:
            end = time.perf_counter() + seconds
            await asyncio.gather(asyncio.sleep(seconds), *(client(end) for _ in range(clients)))
        over.set()
        await watcher
    return seen


def picture(seen: Seen) -> go.Figure:
    """Three curves over time, one below the other."""
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06,
        subplot_titles=("answers a second", "slowest answer of each second, s", "replicas that run"),
    )  # fmt: skip
    seconds = np.arange(int(max(seen.moments)) + 1)
    ended, took = np.array(seen.ended), np.array(seen.took)
    rate = np.bincount(ended.astype(int), minlength=len(seconds))[: len(seconds)]
    slowest = [max(took[ended.astype(int) == each], default=np.nan) for each in seconds]
    for row, (x, y, shape) in enumerate(
        ((seconds, rate, "linear"), (seconds, slowest, "linear"), (seen.moments, seen.replicas, "hv")), start=1
    ):
        figure.add_trace(go.Scatter(x=x, y=y, line={"shape": shape, "color": "#1f5fa8"}), row=row, col=1)
    start = 0.0
    for clients, length in PHASES:
        label = f"{clients} client{'' if clients == 1 else 's'}"
        shade = {"line_width": 0, "fillcolor": "#1f5fa8", "opacity": 0.12 if clients > 1 else 0.04}
        figure.add_vrect(x0=start, x1=start + length, **shade)
        figure.add_annotation(x=start + length / 2, y=1.1, yref="paper", text=label, showarrow=False)
        start += length
    figure.update_xaxes(title_text="seconds", row=3, col=1)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(dtick=1, row=3, col=1)
    return figure.update_layout(template="plotly_white", width=900, height=700, showlegend=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--model", default="demand@champion")
    parser.add_argument("--as-of", default="2017-12-04", help="histories end here")
    parser.add_argument("--port", type=int, default=8125)
    parser.add_argument("--picture", type=Path, default=Path("scaling.html"))
    given = parser.parse_args()
    dataset, as_of = Dataset.open(given.data), moment(given.as_of)
    customers = list(dataset.customers(dataset.customer_ids[:CUSTOMERS], before=as_of))
    server = demandcast(given.model, customers, as_of, given.port, SLEEPY)
    with tempfile.TemporaryDirectory() as scratch, started(server, Path(scratch) / "log"):
        seen = asyncio.run(observed(server, f"http://127.0.0.1:{given.port}"))
    picture(seen).write_html(given.picture, include_plotlyjs=True, config={"displayModeBar": False})
    sent = seen.statuses.total()
    print(f"{sent} requests, {sent - seen.statuses[200]} failed: {dict(seen.statuses)}")
    changes = [
        f"{moment:.0f} s: {count}"
        for moment, count, before in zip(seen.moments, seen.replicas, [-1, *seen.replicas], strict=False)
        if count != before
    ]
    print(f"replicas by time: {', '.join(changes)}; picture: {given.picture}")


if __name__ == "__main__":
    main()
