"""An endpoint under steady load for long: what every process's memory does.

    .venv/bin/python -m benchmarks.serving_soak --data DIR --model demand@champion

The peak is measured first, with clients that ask without pause; then requests come at a share of it, whether the
earlier ones are answered or not. Told are requests, failures and latency, and for each process its own memory (unique
set size) in the first and in the last tenth of the time, without the warm-up.
"""

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.serving import CACHED, CUSTOMERS, OURS, Server, asking, constant, demandcast, load, started
from demand.dataset import Dataset
from demand.moments import moment

CLIENTS, PEAK_SECONDS, STEP_SECONDS = 32, 15.0, 5.0
MEGABYTE = 2**20


@dataclass
class Seen:
    """By status, 0 for no answer, when requests were sent and how long they took, both in seconds; and each process's
    memory in MB over time."""

    took: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))


async def soaked(server: Server, parent: int, rate: float, seconds: float) -> Seen:
    """So many requests a second for so long."""
    seen = Seen()
    begin = time.perf_counter()
    async with asking(server) as ask:

        async def request() -> None:
            start = time.perf_counter()
            status = await ask()
            seen.took[status].append((start - begin, time.perf_counter() - start))

        async def watch() -> None:
            while (now := time.perf_counter() - begin) < seconds:
                for name, megabytes in await asyncio.to_thread(memory, parent):
                    seen.memory[name].append((now, megabytes))
                await asyncio.sleep(STEP_SECONDS)

        watcher = asyncio.create_task(watch())
        async with asyncio.TaskGroup() as requests:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(begin + number / rate - time.perf_counter())
                requests.create_task(request())
        await watcher
    return seen


def memory(parent: int) -> list[tuple[str, float]]:
    """Of every process of an endpoint, by its name and number."""
    found = []
    for each in [psutil.Process(parent), *psutil.Process(parent).children(recursive=True)]:
        try:
            words = " ".join(each.cmdline()) or each.name()
            found.append((f"{short(words)[:45]} {each.pid}", each.memory_full_info().uss / MEGABYTE))
        except psutil.Error:
            continue
    return found


def short(command: str) -> str:
    """What a process is, in a word."""
    if command.startswith("ray::"):
        return command.split(".")[0]  # without the method that runs just now
    return Path(command.split()[0]).name + " " + command.split("/")[-1][:20]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--model", default="demand@champion")
    parser.add_argument("--as-of", default="2017-12-04", help="histories end here")
    parser.add_argument("--port", type=int, default=8126)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--warm-minutes", type=float, default=3.0, help="at the start, that do not count for memory")
    parser.add_argument("--share", type=float, default=0.7, help="of the peak")
    parser.add_argument("--cache", action="store_true", help="keep answers, as serve does by itself")
    given = parser.parse_args()
    dataset, as_of = Dataset.open(given.data), moment(given.as_of)
    customers = list(dataset.customers(dataset.customer_ids[:CUSTOMERS], before=as_of))
    server = demandcast(given.model, customers, as_of, given.port, constant(1), CACHED if given.cache else OURS)
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as scratch, started(server, Path(scratch) / "log") as process:
        peak = asyncio.run(load(server, CLIENTS, PEAK_SECONDS)).rate
        rate = given.share * peak
        console.print(f"peak {peak:.1f} requests/s; {given.minutes:g} minutes at {rate:.1f}")
        seen = asyncio.run(soaked(server, process.pid, rate, given.minutes * 60))
    p50, p99 = np.percentile([took for _, took in seen.took[200]], [50, 99]) * 1e3
    console.print(f"{len(seen.took[200])} requests answered; p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    for status in sorted(set(seen.took) - {200}):
        minutes = [sent / 60 for sent, _ in seen.took[status]]
        console.print(f"{len(minutes)} failed with {status}, sent in minutes {min(minutes):.1f} to {max(minutes):.1f}")
    table = Table("process", "MB, first tenth", "MB, last tenth", "growth", title="memory after the warm-up")
    length = (given.minutes - given.warm_minutes) * 60
    for name, samples in sorted(seen.memory.items()):
        moments, megabytes = np.array(samples).T
        first = megabytes[(moments >= given.warm_minutes * 60) & (moments < given.warm_minutes * 60 + length / 10)]
        last = megabytes[moments >= given.minutes * 60 - length / 10]
        if len(first) and len(last):
            growth = f"{last.mean() / first.mean() - 1:+.1%}"
            table.add_row(name, f"{first.mean():.1f}", f"{last.mean():.1f}", growth)
    console.print(table)


if __name__ == "__main__":
    main()
