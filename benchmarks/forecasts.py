"""Demand totals and the chance of an order, against what forecasters use, at rolling origins.

    make peers
    .venv/bin/python benchmarks/forecasts.py --data DIR --origins 2017-09-11,2017-10-09,2017-11-06

One model, which must have learned from nothing from the first origin on (demandcast train --cutoff), is asked at each
origin about every customer with an order before, and reads what sold until then: as 'demandcast apply forecast' does,
which asks about the two periods before as well. Its sums without that level of late are a row of their own. Totals are
units of the 200 items most sold until then, within 28 days, new customers' purchases among what was really sold: WAPE,
the items' absolute errors over the sum sold; how many items lie within intervals of 50, 80 and 95 %; and the weighted
interval score of these (Bracher et al., 2021) over the sum sold: the nearer and narrower they are, the lower it is.
benchmarks/forecast_peers.py says what it is compared with.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from demand.catalogue import PURCHASES
from demand.dataset import Dataset, earlier
from demand.errors import DemandError
from demand.moments import DAY, moment
from demand.questions import Question
from demand.reliability import brier_score, log_loss, ranking_chance
from demand.uses.supply import LEVELS, Expected, Past, Supply, interval
from modeling.predictor import Predictor
from modeling.registry import Registry
from ray_app.home import Home

ROOT = Path(__file__).resolve().parent.parent
DAYS = 28
MODEL, WITHOUT = "demandcast", "demandcast, without level"
PEER = ROOT / ".venv-forecast-peers" / "bin" / "python"


class Answers:
    """What a model says at moments, of which each is asked about once."""

    def __init__(self, predictor: Predictor, dataset: Dataset) -> None:
        self.predictor, self.dataset = predictor, dataset
        self.items = predictor.catalogue.item_ids
        self._known: dict[int, tuple[Past, pd.DataFrame]] = {}

    def at(self, start: int) -> tuple[Past, pd.DataFrame]:
        """Of the days from a moment on: items, with what they sold, and each customer's chance of an order."""
        if start not in self._known:
            self._known[start] = self._ask(start)
        return self._known[start]

    def _ask(self, start: int) -> tuple[Past, pd.DataFrame]:
        self.predictor.read_sales(self.dataset.lines(PURCHASES, earlier(start)))
        questions = [Question(each, start, DAYS) for each in self.dataset.customers(before=start) if each.orders]
        outlook = self.predictor.outlook(questions)
        sold = truth(self.dataset, start).groupby("item_id").quantity.sum().reindex(self.items, fill_value=0.0)
        orders = {"customer_id": [each.customer.customer_id for each in questions], "chance": outlook.orders}
        return Past(Expected.of(outlook), sold.to_numpy()), pd.DataFrame(orders)

    def units(self, origin: str) -> pd.DataFrame:
        """Item by item, with intervals, and without the level of late."""
        start = moment(origin)
        past = [self.at(start - periods * DAYS * DAY)[0] for periods in (2, 1)]
        now = self.at(start)[0].expected
        found = Supply.of(now, past, np.arange(len(self.items)), len(self.items))
        rows = pd.DataFrame({"item_id": self.items, "units": found.expected.units, "method": MODEL})
        for level in LEVELS:
            low, high = interval(found.expected, found.spread, level)
            rows[f"low_{level * 100:.0f}"], rows[f"high_{level * 100:.0f}"] = low, high
        return pd.concat([rows, pd.DataFrame({"item_id": self.items, "units": now.units, "method": WITHOUT})])

    def orders(self, origin: str) -> pd.DataFrame:
        """Customer by customer."""
        return self.at(moment(origin))[1].assign(method=MODEL)


def truth(dataset: Dataset, start: int) -> pd.DataFrame:
    """Order lines of the days from a moment on."""
    lines = dataset.table("orders", ["customer_id", "ts", "item_id", "quantity"]).to_pandas()
    since = pd.Timestamp(start, unit="us", tz="UTC")
    return lines[(lines.ts >= since) & (lines.ts < since + pd.Timedelta(DAYS * DAY, unit="us"))]


def intervals(forecast: pd.DataFrame, real: np.ndarray) -> dict[str, float]:
    """How much of what was sold lies within, and the score."""
    off = np.abs(forecast.units.to_numpy() - real) / 2
    found = {}
    for level in LEVELS:
        low, high = (forecast[f"{end}_{level * 100:.0f}"].to_numpy() for end in ("low", "high"))
        found[f"in {level:.0%}"] = np.mean((low <= real) & (real <= high)) if np.isfinite(low).all() else np.nan
        beyond = np.maximum(low - real, 0) + np.maximum(real - high, 0)
        off = off + (1 - level) / 2 * (high - low) + beyond
    return {**found, "score": off.sum() / (len(LEVELS) + 0.5) / real.sum()}


def judged(units: pd.DataFrame, orders: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """By method at one origin: WAPE, bias, intervals, AUC, log loss, Brier score, on the same items and customers."""
    items = set(units[~units.method.isin([MODEL, WITHOUT])].item_id)
    sold = then.groupby("item_id").quantity.sum()
    rows: dict[str, dict[str, float]] = {}
    for method, each in units[units.item_id.isin(items)].groupby("method"):
        real = sold.reindex(each.item_id, fill_value=0.0).to_numpy()
        rows[str(method)] = {
            "WAPE": np.abs(each.units.to_numpy() - real).sum() / real.sum(),
            "bias": each.units.sum() / real.sum() - 1,
            **intervals(each, real),
        }
    customers = set.intersection(*(set(each.customer_id) for _, each in orders.groupby("method")))
    for method, each in orders[orders.customer_id.isin(customers)].groupby("method"):
        came, chances = each.customer_id.isin(then.customer_id).to_numpy(), each.chance.to_numpy()
        rows[str(method)] = rows.get(str(method), {}) | {
            "AUC": ranking_chance(chances, came),
            "log loss": log_loss(chances, came),
            "Brier": brier_score(chances, came),
        }
    return pd.DataFrame(rows).T


def show(title: str, table: pd.DataFrame, console: Console) -> None:
    printed = Table(title=title)
    for column in ("", *table.columns):
        printed.add_column(column, justify="right" if column else "left")
    for method, row in table.iterrows():
        printed.add_row(str(method), *("" if np.isnan(value) else f"{value:.4f}" for value in row))
    console.print(printed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a dataset folder")
    parser.add_argument("--model", default="demand@champion", help="as 'demandcast evaluate' takes it")
    parser.add_argument("--origins", required=True, help="dates with commas between")
    arguments = parser.parse_args()
    if not PEER.exists():
        sys.exit("the methods to compare with are missing: run 'make peers'")
    try:
        dataset = Dataset.open(arguments.data)
        predictor = Predictor.load(Registry(Home.here().folder).resolve(arguments.model).checkpoint)
        origins = arguments.origins.split(",")
        learned = predictor.checkpoint.card["validated_before"]
        if moment(learned) > min(moment(each) for each in origins):
            sys.exit(f"this model was chosen by what lies before {learned[:10]}: ask it from then on")
    except DemandError as error:
        sys.exit(str(error))
    script = str(ROOT / "benchmarks" / "forecast_peers.py")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--data", str(arguments.data), "--origins", arguments.origins, "--out", folder]
        subprocess.run([str(PEER), script, *options], check=True)
        units, orders = (pd.read_parquet(Path(folder) / f"{name}.parquet") for name in ("units", "orders"))
    found = {}
    answers = Answers(predictor, dataset)
    for origin in origins:
        found[origin] = judged(
            pd.concat([units[units.origin == origin], answers.units(origin)]),
            pd.concat([orders[orders.origin == origin], answers.orders(origin)]),
            truth(dataset, moment(origin)),
        )
    console = Console()
    for origin, table in found.items():
        show(f"{DAYS} days from {origin}", table, console)
    mean = sum(found.values()) / len(found)
    show("mean over origins", mean, console)
    print(mean.to_json(orient="index"))


if __name__ == "__main__":
    main()
