"""What an endpoint's clients notice when parts of it die, hang or change.

    .venv/bin/python -m benchmarks.serving_faults --data DIR --model demand@champion

Clients ask without pause; after some seconds a process of this endpoint gets a signal, or its model changes. Told are
the requests sent, those that failed, by status, and the longest time without a good answer.
"""

import argparse
import asyncio
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.serving import COMMAND, CUSTOMERS, Server, asking, constant, demandcast, started
from demand.dataset import Dataset
from demand.moments import moment
from modeling.registry import Registry
from ray_app.home import Home

CLIENTS, BEFORE_SECONDS, AFTER_SECONDS = 16, 5.0, 35.0
REPLICA, INGRESS, PROXY, CONTROLLER = (
    "ray::ServeReplica:demandcast:ModelReplica",
    "ray::ServeReplica:demandcast:Ingress",
    "ray::ProxyActor",
    "ray::ServeController",
)


@dataclass(frozen=True)
class Noticed:
    """What clients saw: statuses, 0 for no answer at all, and the longest time without a good one."""

    statuses: Counter[int]
    gap_seconds: float


async def asked(server: Server, during: Callable[[], object], clients: int = CLIENTS) -> Noticed:
    """So many clients, and what is done to the endpoint while they ask."""
    statuses: Counter[int] = Counter()
    begin = time.perf_counter()
    good = [begin]
    end = begin + BEFORE_SECONDS + AFTER_SECONDS
    async with asking(server) as ask:

        async def client() -> None:
            while time.perf_counter() < end:
                status = await ask()
                statuses[status] += 1
                if status == 200:
                    good.append(time.perf_counter())
                if not status:
                    await asyncio.sleep(0.1)

        async def disturb() -> None:
            await asyncio.sleep(BEFORE_SECONDS)
            await asyncio.to_thread(during)

        await asyncio.gather(disturb(), *(client() for _ in range(clients)))
    return Noticed(statuses, float(np.diff(np.sort(good)).max(initial=0)))


def processes(parent: int, name: str) -> list[psutil.Process]:
    """Those of this endpoint alone whose command begins so."""
    below = psutil.Process(parent).children(recursive=True)
    return [each for each in below if " ".join(each.cmdline()).startswith(name)]


FAULTS: dict[str, Callable[[int], object]] = {
    "nothing": lambda parent: None,
    "SIGKILL of one of two replicas": lambda parent: processes(parent, REPLICA)[0].kill(),
    "SIGKILL of the controller": lambda parent: processes(parent, CONTROLLER)[0].kill(),
    "SIGKILL of the proxy": lambda parent: processes(parent, PROXY)[0].kill(),
    "SIGKILL of the ingress": lambda parent: processes(parent, INGRESS)[0].kill(),
    "all processes are replaced (SIGHUP)": lambda parent: psutil.Process(parent).send_signal(signal.SIGHUP),
    "one of two replicas hangs": lambda parent: processes(parent, REPLICA)[0].send_signal(signal.SIGSTOP),
}
"""By what they are called, given the process of `demandcast serve`."""


def promote(model: str) -> None:
    """As people do it; then time for it to be seen."""
    subprocess.run([*COMMAND, "models", "promote", model], check=True, stdout=subprocess.DEVNULL)
    time.sleep(8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--model", default="demand@champion", help="with a champion that other models may replace")
    parser.add_argument("--other", help="a model to change to and back from")
    parser.add_argument("--as-of", default="2017-12-04", help="histories end here")
    parser.add_argument("--port", type=int, default=8124)
    given = parser.parse_args()
    version = Registry(Home.here().folder).resolve(given.model)
    dataset, as_of = Dataset.open(given.data), moment(given.as_of)
    customers = list(dataset.customers(dataset.customer_ids[:CUSTOMERS], before=as_of))
    server = demandcast(given.model, customers, as_of, given.port, constant(2))
    faults = dict(FAULTS)
    if given.other:
        faults["the model changes, and changes back"] = lambda _: [promote(given.other), promote(str(version))]
    columns = ("", "sent", "good", "503", "other failures", "longest gap")
    table = Table(*columns, title=f"{CLIENTS} clients, {BEFORE_SECONDS + AFTER_SECONDS:g} s each")
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as scratch:
        for name, fault in faults.items():
            with started(server, Path(scratch) / "log") as process:
                found = asyncio.run(asked(server, partial(fault, process.pid)))
                for each in processes(process.pid, REPLICA):
                    each.send_signal(signal.SIGCONT)
            sent, good, busy = found.statuses.total(), found.statuses[200], found.statuses[503]
            console.print(f"{name}: {dict(found.statuses)}, longest gap {found.gap_seconds:.1f} s")
            table.add_row(name, str(sent), str(good), str(busy), str(sent - good - busy), f"{found.gap_seconds:.1f} s")
    console.print(table)


if __name__ == "__main__":
    main()
