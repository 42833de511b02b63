"""How many customers a shop needs: a model from scratch against one warm-started from another shop's.

    python -m benchmarks.transfer --data DIR --base demand@champion --out FOLDER --customers 100 300 1000 3000

Customers with three orders take part. Some are drawn first and only asked, never learned from: their last orders, each
at its moment. A shop of N customers is a dataset of N others with all items, so that sales are those N customers' too.
`cold` and `warm` learn from it by the protocol last-order with the same settings, and validation, the order before the
last, chooses the epoch and among --rates; few customers are gone through more often. Nobody learns from test orders.
Simple baselines count the histories of those who are asked. What is done lies in FOLDER: stopped, the same command goes
on.
"""

import argparse
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.results import made_of
from demand.baselines import BASELINES
from demand.baselines.problem import Problem
from demand.comparison import MODEL, compare
from demand.dataset import Dataset
from demand.importing import Chunk, import_dataset
from demand.metrics import top_k
from demand.protocols import TEST, LastOrder
from demand.questions import MINIMUM_ORDERS, NEXT, Question
from modeling.predictor import Predictor
from modeling.registry import ModelVersion, Registry
from ray_app import jobs
from ray_app.home import Home
from ray_app.output import console, say
from ray_app.presets import load_settings
from ray_app.steps import Steps

BASE = "base"
COLD, WARM = STARTS = ("cold", "warm")
YARDSTICKS = ("personal-top", "global-top")
FIGURES = ("recall@10", "ndcg@10")
HISTORIES, MOST_EPOCHS = 6_000, 40
"""How many histories a run goes through, and how often through each at most."""


@dataclass(frozen=True)
class Shops:
    """A dataset cut into shops of so many customers, and those who are asked.

    Attributes:
        asked: ids of customers no shop has.
    """

    data: Path
    out: Path
    asked: list[str]
    others: np.ndarray

    @classmethod
    def of(cls, data: Path, out: Path, asked: int, seed: int) -> "Shops":
        lines = Dataset.open(data).table("orders", ["customer_id", "ts"])
        orders = lines.group_by("customer_id").aggregate([("ts", "count_distinct")])
        regulars = orders.filter(pc.greater_equal(orders["ts_count_distinct"], MINIMUM_ORDERS))["customer_id"]
        drawn = np.random.default_rng(seed).permutation(np.sort(np.array(regulars.to_pylist(), dtype=object)))
        return cls(data, out, sorted(drawn[:asked].tolist()), drawn[asked:])

    def shop(self, customers: int) -> Path:
        """The folder of a dataset of so many of the others, all items in it; made once."""
        folder = self.out / f"shop-{customers}"
        if not (folder / "manifest.json").is_file():
            ids = pa.array(self.others[:customers].tolist())
            tables = {name: pq.read_table(self.data / f"{name}.parquet") for name in ("items", *_OF_CUSTOMERS)}
            for name in _OF_CUSTOMERS:
                tables[name] = tables[name].filter(pc.is_in(tables[name]["customer_id"], ids))
            frames = {name: table.to_pandas() for name, table in tables.items() if len(table)}
            source = Dataset.open(self.data).manifest["source"]
            import_dataset(source, (Chunk(name, name, frame) for name, frame in frames.items()), folder)
        return folder


_OF_CUSTOMERS = ("customers", "orders", "reviews", "browsing")


@dataclass(frozen=True)
class Transfer:
    """All models of all shops."""

    shops: Shops
    preset: str
    assignments: list[str]
    rates: list[float]
    home: Home

    def learned(self, customers: int, start: str) -> dict[str, Any]:
        """The model that validation prefers among the rates: "model", "checkpoint", "rate" and "validation"."""
        runs = []
        for rate in self.rates:
            version, metrics = self._trained(customers, start, rate)
            runs.append({"model": str(version), "checkpoint": version.checkpoint, "rate": rate, "validation": metrics})
            say(f"{customers:,} customers, {start}, learning rate {rate:g}: validation {metrics['ndcg@10']:.4f}")
        return max(runs, key=lambda run: run["validation"]["ndcg@10"])

    def _trained(self, customers: int, start: str, rate: float) -> tuple[ModelVersion, dict[str, float]]:
        epochs = min(max(HISTORIES // customers, 1), MOST_EPOCHS)
        given = [f"training.epochs={epochs}", f"training.learning_rate={rate}", "training.refit=false"]
        warm = [f"base={BASE}"] if start == WARM else []
        settings = load_settings(self.preset, [*given, *self.assignments, *warm])
        plan = jobs.make_plan(self.shops.shop(customers), settings, None, None, 1, self.home, "last-order", start)
        return jobs.train(plan, f"{start}-{customers}-{rate:g}", self.home, console)

    def asked(self, customers: int, checkpoints: dict[str, str]) -> dict[str, Any]:
        """By method the means of FIGURES with their intervals, and under "lead" warm's over cold."""
        protocol, whole = LastOrder(), Dataset.open(self.shops.data)
        shop = Dataset.open(self.shops.shop(customers))
        ranked, truths = {}, []
        for start, folder in checkpoints.items():
            predictor = Predictor.load(folder)
            predictor.read_sales(protocol.lines(shop, TEST))
            questions = protocol.questions(whole, self.shops.asked, predictor.catalogue, TEST)
            pairs = zip(questions.customers, questions.moments, strict=True)
            rates = predictor.rates([Question(customer, moment) for customer, moment in pairs])
            ranked[MODEL if start == WARM else start], truths = top_k(rates, 20), questions.next_order
        problem = Problem(questions, predictor.catalogue)
        counted = {name: top_k(BASELINES[name].answers(problem, {})[NEXT], 20) for name in YARDSTICKS}
        found = compare({**ranked, **counted}, truths)
        figures = {
            WARM if name == MODEL else name: {metric: _three(row[metric]) for metric in FIGURES}
            for name, row in found.methods.items()
        }
        lead = {metric: _three(found.differences[COLD][metric]) for metric in FIGURES}
        return {"asked": found.customers, **figures, "lead": lead}


def _three(estimate: Any) -> list[float]:
    return [estimate.mean, estimate.low, estimate.high]


def row(customers: int, found: dict[str, Any]) -> str:
    """A row of the table, in Markdown."""
    cells = [f"{customers:,}"]
    for metric in FIGURES:
        cells += [f"{found[start][metric][0]:.4f}" for start in STARTS]
        cells.append("{:+.4f} ({:+.4f} to {:+.4f})".format(*found["lead"][metric]))
    return f"| {' | '.join(cells)} |".replace("0.", ".")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder of 'demandcast data import'")
    parser.add_argument("--base", default="demand@champion", help="the other shop's model, in the state folder of now")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is done, and of the result")
    parser.add_argument("--customers", type=int, nargs="+", default=[100, 300, 1_000, 3_000])
    parser.add_argument("--asked", type=int, default=1_000, help="customers who are only asked")
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3], help="learning rates to choose among")
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--set", action="append", default=[], dest="assignments", help="override a setting")
    parser.add_argument("--seed", type=int, default=0, help="of the customers drawn")
    arguments = parser.parse_args()
    base = Registry(Home.here().folder).resolve(arguments.base)
    out = arguments.out.resolve()
    made = {"data": Dataset.open(arguments.data).content_hash, "base": base.checkpoint}
    made_of(out, made | {name: getattr(arguments, name) for name in ("preset", "assignments", "asked", "seed")})
    os.environ["DEMANDCAST_HOME"] = str(out)
    home = Home.here()
    registry = Registry(home.folder)
    if not any(each.name == BASE for each in registry.versions()):
        registry.register(BASE, base.checkpoint, None, base.metrics or {})
    shops = Shops.of(arguments.data.resolve(), out / "shops", arguments.asked, arguments.seed)
    transfer = Transfer(shops, arguments.preset, arguments.assignments, arguments.rates, home)
    drawn = f"{arguments.asked} {arguments.seed}"
    steps = Steps(out / "transfer", f"{Dataset.open(shops.data).content_hash} {drawn}")
    curve: dict[int, Any] = {}
    for customers in arguments.customers:
        console.rule(f"{customers:,} customers")
        chosen = {start: transfer.learned(customers, start) for start in STARTS}
        folders = {start: run["checkpoint"] for start, run in chosen.items()}
        found = steps.once("asked", json.dumps(folders), partial(transfer.asked, customers, folders))
        curve[customers] = {"chosen": chosen, **found}
        say(row(customers, curve[customers]))
    for name in YARDSTICKS:
        say(f"{name}: " + ", ".join(f"{metric} {found[name][metric][0]:.4f}" for metric in FIGURES))
    heads = [f"{metric}, {name}" for metric in FIGURES for name in (*STARTS, "lead of warm")]
    print(f"| customers | {' | '.join(heads)} |\n|{' --- |' * (len(heads) + 1)}")
    for customers, found in curve.items():
        print(row(customers, found))
    print(json.dumps(curve))


if __name__ == "__main__":
    main()
