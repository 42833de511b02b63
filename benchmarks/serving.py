"""Answers over HTTP: demandcast against its own forward passes, and against what a team would otherwise put up.

    make peers
    .venv/bin/python -m benchmarks.serving --data DIR --model demand@champion

Every server gets the histories of the same 200 customers, in turn, and gives the 20 likeliest demands with their
probabilities. The same 200 come again and again: demandcast-cache keeps its answers, as `serve` does by itself, and
demandcast answers each anew. Clients ask again as soon as they are answered (a closed loop). Peers get a history as the
tokens of its prompt, which demandcast must first make of JSON: vLLM (`max_tokens` 1, `logprobs` 20) and one process of
FastAPI and transformers (benchmarks/serving_peers.py), both with the exported model. The limit is what the same cores
do where prompts only go through the model, in batches, one process a core.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
from rich.console import Console
from rich.table import Table

from demand.customer import Customer
from demand.dataset import Dataset
from demand.moments import iso, moment
from demand.questions import Question
from modeling.export import export_hf
from modeling.predictor import Predictor
from modeling.registry import ModelVersion, Registry
from ray_app.home import Home
from serving.schemas import CustomerRecord, PredictRequest

ROOT = Path(__file__).resolve().parent.parent
PEER = ROOT / ".venv-serving-peers" / "bin"
COMMAND = [sys.executable, "-c", "from ray_app.cli import main; main()"]
CUSTOMERS, TOP = 200, 20
OURS, CACHED, VLLM, TRANSFORMERS = "demandcast", "demandcast-cache", "vllm", "transformers"
WARM_SECONDS, START_SECONDS, REQUEST_SECONDS = 3.0, 300.0, 60.0
BATCH = 16


@dataclass(frozen=True)
class Server:
    """What is measured: how it is started, where it says that it is ready, where it is asked what."""

    name: str
    command: Sequence[str]
    ready: str
    url: str
    bodies: Sequence[bytes]
    environment: dict[str, str]


@dataclass(frozen=True)
class Load:
    """What came of some seconds: latencies in seconds of what was answered, and how many requests were not."""

    latencies: np.ndarray
    errors: int
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def cells(self) -> list[str]:
        """Requests a second, p50, p95 and p99 in milliseconds, errors."""
        percentiles = np.percentile(self.latencies, [50, 95, 99]) * 1e3 if len(self.latencies) else [np.nan] * 3
        return [f"{self.rate:.1f}", *(f"{each:.0f}" for each in percentiles), str(self.errors)]


@asynccontextmanager
async def asking(server: Server) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Gives what asks the server's next question, as often at once as is wanted: the status of its answer, 0 without
    one."""
    bodies = itertools.cycle(server.bodies)
    headers = {"Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:

        async def ask() -> int:
            try:
                async with session.post(server.url, data=next(bodies)) as response:
                    await response.read()
                    return response.status
            except (aiohttp.ClientError, TimeoutError):
                return 0

        yield ask


async def load(server: Server, concurrency: int, seconds: float) -> Load:
    """So many clients at once, after some seconds that do not count."""
    latencies: list[float] = []
    errors = 0
    begin = time.perf_counter() + WARM_SECONDS
    end = begin + seconds
    async with asking(server) as ask:

        async def client() -> None:
            nonlocal errors
            while (start := time.perf_counter()) < end:
                status = await ask()
                if begin <= start and (now := time.perf_counter()) <= end:
                    if status == 200:
                        latencies.append(now - start)
                    else:
                        errors += 1

        await asyncio.gather(*(client() for _ in range(concurrency)))
    return Load(np.array(latencies), errors, seconds)


@contextmanager
def started(server: Server, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, while the block lasts.

    Raises:
        RuntimeError: it ended, or was not ready in START_SECONDS.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            server.command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | server.environment
        )
        try:
            asyncio.run(_until_ready(server, process, log))
            yield process
        finally:
            process.send_signal(2)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


async def _until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                async with session.get(server.ready) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(1)
    raise RuntimeError(f"{server.name} does not answer:\n{log.read_text(errors='replace')[-3000:]}")


def passes(
    checkpoint: str, questions: Sequence[Question], seconds: float, counted: "multiprocessing.Queue[int]"
) -> None:
    """One process of the limit: prompts that are ready go through the model in batches; counts them."""
    import torch

    torch.set_num_threads(1)
    predictor = Predictor.load(checkpoint)
    prompts = [predictor.renderer.prompt(each.customer, each.as_of, each.horizon_days) for each in questions]
    batches = itertools.cycle([prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH)])
    predictor.forecasts_of(next(batches))
    end = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < end:
        count += len(predictor.forecasts_of(next(batches)))
    counted.put(count)


def limit(checkpoint: str, questions: Sequence[Question], seconds: float) -> float:
    """Histories a second, over one process for each core."""
    context = multiprocessing.get_context("spawn")
    counted: multiprocessing.Queue[int] = context.Queue()
    workers = [
        context.Process(target=passes, args=(checkpoint, questions, seconds, counted))
        for _ in range(os.cpu_count() or 1)
    ]
    for each in workers:
        each.start()
    total = sum(counted.get() for _ in workers)
    for each in workers:
        each.join()
    return total / seconds


def demandcast(
    model: str, customers: Sequence[Customer], as_of: int, port: int, scaling: Sequence[str], name: str = OURS
) -> Server:
    """What is measured, asked about each customer in turn; as CACHED it may remember what it answered before.

    Args:
        scaling: options of `serve` that say how many replicas there are.
    """
    requests = [PredictRequest(customer=CustomerRecord.of(each), as_of=iso(as_of), top_k=TOP) for each in customers]
    url = f"http://127.0.0.1:{port}"
    cache = [] if name == CACHED else ["--cache-megabytes", "0"]
    return Server(
        name,
        [*COMMAND, "serve", "--model", model, "--port", str(port), *scaling, *cache],
        f"{url}/readyz",
        f"{url}/v1/predict",
        [each.model_dump_json(exclude_defaults=True).encode() for each in requests],
        {},
    )


def constant(replicas: int) -> list[str]:
    """Options of `serve`: so many replicas, whatever the load."""
    return ["--min-replicas", str(replicas), "--max-replicas", str(replicas)]


def servers(
    version: ModelVersion, export: Path, customers: Sequence[Customer], as_of: int, port: int, replicas: int
) -> dict[str, Server]:
    """By name."""
    predictor = Predictor.load(version.checkpoint)
    tokens = [predictor.renderer.prompt(each, as_of).tokens.tolist() for each in customers]
    export_hf(predictor.checkpoint, export)
    url = f"http://127.0.0.1:{port}"
    asked = {"max_tokens": 1, "logprobs": TOP, "temperature": 0, "model": str(export)}
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    return {
        each.name: each
        for each in (
            *(demandcast(str(version), customers, as_of, port, constant(replicas), name) for name in (OURS, CACHED)),
            Server(
                VLLM,
                [str(PEER / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(export), "--port",
                 str(port), "--max-logprobs", str(TOP), "--dtype", "float32"],
                f"{url}/health",
                f"{url}/v1/completions",
                [json.dumps({**asked, "prompt": each}).encode() for each in tokens],
                {"VLLM_CPU_KVCACHE_SPACE": "2"},
            ),
            Server(
                TRANSFORMERS,
                [str(PEER / "python"), str(ROOT / "benchmarks" / "serving_peers.py"), str(export), str(port)],
                f"{url}/health",
                f"{url}/predict",
                [json.dumps({"tokens": each, "top_k": TOP}).encode() for each in tokens],
                threads,
            ),
        )
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--model", default="demand@champion")
    parser.add_argument("--as-of", default="2017-12-04", help="histories end here")
    parser.add_argument("--servers", default=f"{OURS},{CACHED},{VLLM},{TRANSFORMERS}")
    parser.add_argument("--concurrency", default="1,8,32,128")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--port", type=int, default=8123)
    asked = parser.parse_args()
    version = Registry(Home.here().folder).resolve(asked.model)
    dataset, as_of = Dataset.open(asked.data), moment(asked.as_of)
    customers = list(dataset.customers(dataset.customer_ids[:CUSTOMERS], before=as_of))
    most = limit(version.checkpoint, [Question(each, as_of) for each in customers], asked.seconds)
    table = Table("", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", title="answers over HTTP")
    table.add_row("forward passes alone", "", f"{most:.1f}")
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        every = servers(version, folder / "export", customers, as_of, asked.port, asked.replicas)
        for name in asked.servers.split(","):
            with started(every[name], folder / "log"):
                for concurrency in map(int, asked.concurrency.split(",")):
                    found = asyncio.run(load(every[name], concurrency, asked.seconds))
                    table.add_row(name, str(concurrency), *found.cells())
                    console.print(
                        f"{name} at {concurrency}: {found.rate:.1f} requests/s, {found.rate / most:.0%} of the limit"
                    )
    console.print(table)


if __name__ == "__main__":
    main()
