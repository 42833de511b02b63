"""How cost grows with the data: a dataset's rows 1, 4 and 16 times over, with fresh customers and orders.

    .venv/bin/python -m benchmarks.scaling --data DIR --json scaling.json

For each size the rows are written as Parquet files, in the order of time as a shop would export them, and go through
the real import, rendering, a number of training steps and the prediction of all customers, each stage in processes of
its own. Told are throughput, that of the smallest size being 100 %, and the most memory that all processes of a stage
held together: the sum of their proportional set sizes, so that what they share, Ray's object store too, counts once.
Processor seconds are what they used; beside other work they are the steadier measure, and "of linear" is by them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from demand.dataset import Dataset
from demand.importing import import_dataset
from demand.protocols import TEST, Cutoff
from demand.sources import SourceOptions, source

ROWS_AT_ONCE = 65_536
SAMPLE_SECONDS, SAMPLE_SHARE = 0.1, 0.05
"""Least time between two looks, and most of a core's time that looking may take: the kernel walks all pages for it."""
STAGES = ("import", "render and train", "predict")


@dataclass(frozen=True)
class Figure:
    """What one stage did with one size of the data.

    Attributes:
        times: how often the rows were there.
        amount: of what `unit` names.
        seconds: on the clock.
        rate: amount per second.
        memory: most bytes of all processes together.
        processor_seconds: of all of them.
    """

    times: int
    stage: str
    unit: str
    amount: int
    seconds: float
    rate: float
    memory: int = 0
    processor_seconds: float = 0.0

    def share_of_linear(self, first: "Figure") -> float:
        """What a processor second achieves, against the smallest size."""
        return self.amount / self.processor_seconds / (first.amount / first.processor_seconds)


class Watch:
    """Memory and processor time of a process and all that it started, until it is asked."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._used: dict[tuple[int, float], float] = {}
        self._counted, self._memory = 0.0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def lap(self) -> tuple[int, float]:
        """The most bytes at a time and the processor seconds since the last lap."""
        with suppress(psutil.Error):
            self._sample()
        used = sum(self._used.values())
        memory, seconds = self._memory, used - self._counted
        self._memory, self._counted = 0, used
        return memory, seconds

    def stop(self) -> None:
        """Looks no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        pause = SAMPLE_SECONDS
        while not self._over.wait(pause):
            begin = time.thread_time()
            with suppress(psutil.Error):
                self._sample()
            pause = max(SAMPLE_SECONDS, (time.thread_time() - begin) / SAMPLE_SHARE)

    def _sample(self) -> None:
        memory = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            with suppress(psutil.Error):
                memory += process.memory_full_info().pss
                times = process.cpu_times()
                self._used[process.pid, process.create_time()] = times.user + times.system
        self._memory = max(self._memory, memory)


def replicate(data: Path, times: int, out: Path, own_items: bool = False) -> None:
    """Writes a dataset's rows as Parquet files for the import, so many times over, rows with a moment in its order.

    Args:
        own_items: the customers of each copy buy items of their own.
    """
    out.mkdir(parents=True)
    dataset = Dataset.open(data)
    people = dataset.table("customers")
    attributes = pa.Table.from_pylist([dict(each) for each in people["attributes"].to_pylist()])
    tables = {"customers": attributes.add_column(0, "customer_id", people["customer_id"])} if len(people) else {}
    tables |= {name: dataset.table(name).sort_by("ts") for name in ("orders", "reviews", "browsing")}
    fresh = ["customer_id", "order_id", *(["item_id"] if own_items else [])]
    for name, table in {**tables, "items": dataset.table("items")}.items():
        if not len(table):
            continue
        with pq.ParquetWriter(out / f"{name}.parquet", table.schema) as file:
            for start in range(0, len(table), ROWS_AT_ONCE):
                for copy in range(times if name != "items" or own_items else 1):
                    file.write_table(_renamed(table.slice(start, ROWS_AT_ONCE), fresh, copy))


def _renamed(rows: pa.Table, columns: Sequence[str], copy: int) -> pa.Table:
    for column in columns:
        if copy and column in rows.column_names:
            fresh = pc.binary_join_element_wise(rows[column], f"{copy}", "~").cast(rows[column].type)
            rows = rows.set_column(rows.column_names.index(column), rows.schema.field(column), fresh)
    return rows


def import_rows(folder: Path, given: argparse.Namespace) -> Iterator[Figure]:
    """The real import."""
    begin = time.monotonic()
    manifest = import_dataset("parquet", source("parquet", SourceOptions(path=folder / "source")), folder / "data")
    yield _figure("import", "lines", manifest["files"]["orders.parquet"]["in"], time.monotonic() - begin)


def render_and_train(folder: Path, given: argparse.Namespace) -> Iterator[Figure]:
    """Every customer's prompts of one epoch, then some steps; leaves a model where there is none."""
    from ray_app.cluster import connect
    from ray_app.presets import load_settings
    from training.completion import finish
    from training.run import Plan, best, fit, prepare

    connect()
    data = folder / "data"
    settings = load_settings(given.preset, ["training.epochs=1", "training.refit=false"])
    plan = Plan(data=data, settings=settings, protocol=Cutoff.on(Dataset.open(data)))
    begin = time.monotonic()
    prepared = prepare(plan)
    yield _figure("render", "customers", Dataset.open(data).manifest["customers"], time.monotonic() - begin)
    print(f"rendered: {prepared.training.size_bytes():,} bytes", file=sys.stderr)
    steps = min(given.steps, prepared.job.total_steps)
    begin = time.monotonic()
    result = fit(replace(prepared, job=replace(prepared.job, total_steps=steps)), "scaling", folder / "runs")
    snapshot, metrics = best(result, folder / "runs")
    yield _figure("train", "steps", steps, time.monotonic() - begin)
    if not given.model.exists():
        finish(plan, "scaling", snapshot, metrics, given.model)


def predict(folder: Path, given: argparse.Namespace) -> Iterator[Figure]:
    """Customers with an order before the test: all of them, or, once everything is ready for all, the first ones."""
    from ray_app.cluster import connect
    from training.prediction import Asked, Demands, ask_all

    connect()
    as_of = Cutoff.on(Dataset.open(folder / "data")).moment(TEST)
    begin = time.monotonic()
    customers = 0
    for some in ask_all(Asked(folder / "data", Path(given.model), as_of), Demands(20)):
        customers += pc.sum(pc.equal(some["rank"], 1)).as_py() or 0
        if given.predicted and customers >= given.predicted:
            break
    yield _figure("predict", "customers", customers, time.monotonic() - begin)


def _figure(stage: str, unit: str, amount: int, seconds: float) -> Figure:
    return Figure(0, stage, unit, amount, seconds, amount / seconds)


WORK = dict(zip(STAGES, (import_rows, render_and_train, predict), strict=True))


def measured(stage: str, times: int, folder: Path, given: argparse.Namespace) -> list[Figure]:
    """Runs a stage in a process of its own, watched from here."""
    options = {
        "--work": stage, "--folder": folder, "--model": given.model,
        "--preset": given.preset, "--steps": given.steps, "--predicted": given.predicted,
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.scaling", *(str(each) for pair in options.items() for each in pair)]
    figures = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watch = Watch(psutil.Process(process.pid))
        try:
            for told in _figures(process.stdout):
                memory, processor_seconds = watch.lap()
                figures.append(replace(told, times=times, memory=memory, processor_seconds=processor_seconds))
                print(f"{times} x {told.stage}: {told.seconds:.0f} s", file=sys.stderr)
        finally:
            watch.stop()
    if process.returncode:
        sys.exit(f"{stage} failed with {times} x the data")
    return figures


def _figures(lines: IO[str] | None) -> Iterator[Figure]:
    """What a stage tells between whatever else is printed."""
    for line in lines or ():
        if line.startswith('{"times"'):
            yield Figure(**json.loads(line))


def table(figures: list[Figure]) -> Table:
    """For people."""
    shown = Table()
    for column in ("stage", "data", "amount", "seconds", "a second", "processor s", "of linear", "peak memory"):
        shown.add_column(column, justify="left" if column == "stage" else "right")
    ordered = sorted(figures, key=lambda each: ("import", "render", "train", "predict").index(each.stage))
    for place, each in enumerate(ordered):
        last = place + 1 == len(ordered) or ordered[place + 1].stage != each.stage
        first = next(other for other in ordered if other.stage == each.stage)
        shown.add_row(
            each.stage if first is each else "",
            f"{each.times} x",
            f"{each.amount:,} {each.unit}",
            f"{each.seconds:,.0f}",
            f"{each.rate:,.1f}",
            f"{each.processor_seconds:,.0f}",
            f"{each.share_of_linear(first):.0%}",
            f"{each.memory / 2**20:,.0f} MiB",
            end_section=last,
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="dataset folder whose rows are taken")
    parser.add_argument("--times", default="1,4,16", help="how often, by commas")
    parser.add_argument("--items", action="store_true", help="as many times the items too")
    parser.add_argument("--stages", default=",".join(STAGES), help="by commas; the later ones need the earlier ones")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--steps", type=int, default=200, help="of training")
    parser.add_argument("--predicted", type=int, default=0, help="customers to predict for; by default all")
    parser.add_argument("--scratch", type=Path, help="folder to work in; by default one that is removed in the end")
    parser.add_argument(
        "--model",
        type=Path,
        help="model folder that predicts; by default what the first size trained, with --items each size",
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--work", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        for figure in WORK[given.work](given.folder, given):
            print(json.dumps(asdict(figure)), flush=True)
        return
    if not given.data:
        parser.error("give --data DIR")
    stages = given.stages.split(",")
    if unknown := sorted(set(stages) - set(STAGES)):
        parser.error(f"no stage '{unknown[0]}': choose of {', '.join(STAGES)}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as temporary:
        scratch = (given.scratch or Path(temporary)).resolve()
        model = given.model
        for times in map(int, given.times.split(",")):
            folder = scratch / f"{times}x"
            given.model = (model or (folder if given.items else scratch) / "model").resolve()
            if not (folder / "source").exists():
                replicate(given.data, times, folder / "source", given.items)
            for stage in stages:
                figures += measured(stage, times, folder, given)
                if given.json:
                    content: list[dict[str, Any]] = [asdict(each) for each in figures]
                    given.json.write_text(json.dumps(content, indent=2))
    Console(width=120).print(table(figures))


if __name__ == "__main__":
    main()
