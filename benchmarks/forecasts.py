"""Demand totals and the chance of an order, against what forecasters use, at rolling origins.

    make peers
    .venv/bin/python benchmarks/forecasts.py --data DIR --origins 2017-09-11,2017-10-09,2017-11-06

One model, which must have learned from nothing from the first origin on (demandcast train --cutoff), is asked at each
origin about every customer with an order before, and reads what sold until then: as 'demandcast apply forecast' does,
which asks about the two periods before as well. Its sums without that level of late are a row of their own. Totals are
units of the 200 items most sold until then, within 28 days and week by week, and of the 100 largest stores, with what
new customers really bought: WAPE, the absolute errors over the sum sold; how many of them lie within intervals of 50,
80 and 95 %; and the weighted interval score of these (Bracher et al., 2021) over the sum sold: the nearer and narrower
they are, the lower it is. benchmarks/forecast_peers.py says what it is compared with.
"""

import argparse
import json
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
from demand.uses.stores import UNKNOWN, Placed
from demand.uses.supply import LEVELS, Expected, Past, Supply, by_week, in_groups, interval
from modeling.predictor import Predictor
from modeling.registry import Registry
from ray_app.home import Home

ROOT = Path(__file__).resolve().parent.parent
DAYS = 28
ENDS = (7, 14, 21, DAYS)
"""Of the weeks."""
MODEL, WITHOUT, SOLD = "demandcast", "demandcast, without level", "sold"
PEER = ROOT / ".venv-forecast-peers" / "bin" / "python"


class Answers:
    """What a model says at moments, of which each is asked about once."""

    def __init__(self, predictor: Predictor, dataset: Dataset) -> None:
        self.predictor, self.dataset = predictor, dataset
        lines = dataset.table("orders", ["customer_id", "ts", "item_id", "quantity", "store"]).to_pandas()
        self.lines = lines.assign(ts=lines.ts.astype("int64"), store=lines.store.fillna(UNKNOWN))
        self.items, self.stores = pd.Index(predictor.catalogue.item_ids), pd.Index(sorted(self.lines.store.unique()))
        self._known: dict[int, tuple[Past, pd.DataFrame]] = {}

    def at(self, start: int) -> tuple[Past, pd.DataFrame]:
        """Of the days from a moment on: by week, store and item, with what they sold; and customers' chances."""
        if start not in self._known:
            self._known[start] = self._ask(start)
        return self._known[start]

    def _ask(self, start: int) -> tuple[Past, pd.DataFrame]:
        self.predictor.read_sales(self.dataset.lines(PURCHASES, earlier(start)))
        customers = [each for each in self.dataset.customers(before=start) if each.orders]
        until = []
        for days in ENDS:
            outlook = self.predictor.outlook([Question(each, start, days) for each in customers])
            until.append(Placed.of(outlook).among(list(self.stores)))
        then = self.then(start)
        then = then[then.item_id.isin(self.items)]
        sold = np.zeros((len(ENDS), len(self.stores), len(self.items)))
        week = (then.ts - start) // DAY // ENDS[0]
        cells = week, self.stores.get_indexer(then.store), self.items.get_indexer(then.item_id)
        np.add.at(sold, cells, then.quantity)
        orders = {"customer_id": [each.customer_id for each in customers], "chance": outlook.orders}
        return Past(by_week(until), sold), pd.DataFrame(orders).assign(method=MODEL)

    def then(self, start: int) -> pd.DataFrame:
        """Order lines of the days from a moment on."""
        return self.lines[(self.lines.ts >= start) & (self.lines.ts < start + DAYS * DAY)]

    def units(self, start: int, what: str) -> pd.DataFrame:
        """Forecasts of `what` as forecast_peers.py has it, with and without the level, and what was then sold."""
        axes = {"items": (1, 2), "weeks": (2,), "stores": (1,)}[what]
        *past, now = (self._summed(start - periods * DAYS * DAY, axes) for periods in (2, 1, 0))
        one = what == "stores"  # all items of a store are one group
        groups = np.zeros(len(self.items), int) if one else np.arange(len(self.items))
        found = Supply.of(now.expected, past, groups, groups.max() + 1)
        rows = pd.DataFrame({"unique_id": self.stores if one else np.resize(self.items, found.expected.units.size)})
        if what == "weeks":
            rows["step"] = np.repeat(range(1, len(ENDS) + 1), len(self.items))
        forecast = rows.assign(method=MODEL, units=found.expected.units.ravel())
        for level in LEVELS:
            low, high = interval(found.expected, found.spread, level)
            forecast[f"low_{level * 100:.0f}"], forecast[f"high_{level * 100:.0f}"] = low.ravel(), high.ravel()
        without, sold = (in_groups(each, groups, groups.max() + 1) for each in (now.expected.units, now.sold))
        more = [rows.assign(method=name, units=each.ravel()) for name, each in ((WITHOUT, without), (SOLD, sold))]
        return pd.concat([forecast, *more])

    def _summed(self, start: int, axes: tuple[int, ...]) -> Past:
        """Over some axes of (3, W, S, V), which then are of one."""
        past, _ = self.at(start)
        return Past(
            Expected(*past.expected.parts.sum(axes, keepdims=True)), past.sold[None].sum(axes, keepdims=True)[0]
        )


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


def judged(units: pd.DataFrame) -> pd.DataFrame:
    """By method at one origin: WAPE, bias and intervals, on the series that all of them forecast.

    Args:
        units: unique_id (and step), method, units and ends of intervals; those of the method SOLD are the truth.
    """
    series = [name for name in ("unique_id", "step") if name in units and units[name].notna().all()]
    by_method = {name: each.set_index(series) for name, each in units.groupby("method")}
    real = by_method.pop(SOLD).units
    for each in by_method.values():
        real = real[real.index.isin(each.index)]
    rows = {}
    for method, each in by_method.items():
        found = each.loc[real.index]
        wape = np.abs(found.units - real).sum() / real.sum()
        rows[method] = {"WAPE": wape, "bias": found.units.sum() / real.sum() - 1, **intervals(found, real.to_numpy())}
    return pd.DataFrame(rows).T


def judged_orders(orders: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """By method at one origin: AUC, log loss and Brier score, on the same customers."""
    customers = set.intersection(*(set(each.customer_id) for _, each in orders.groupby("method")))
    rows = {}
    for method, each in orders[orders.customer_id.isin(customers)].groupby("method"):
        came, chances = each.customer_id.isin(then.customer_id).to_numpy(), each.chance.to_numpy()
        rows[method] = {
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
    found: dict[str, list[pd.DataFrame]] = {"orders": []}
    answers = Answers(predictor, dataset)
    console = Console()
    for origin in origins:
        start = moment(origin)
        for what, theirs in units[units.origin == origin].groupby("what"):
            ours = answers.units(start, str(what))
            found.setdefault(str(what), []).append(
                judged(pd.concat([theirs[theirs.columns.intersection(ours.columns)], ours]))
            )
        theirs = orders[orders.origin == origin]
        found["orders"].append(judged_orders(pd.concat([theirs, answers.at(start)[1]]), answers.then(start)))
        for what, tables in found.items():
            show(f"{what}, {DAYS} days from {origin}", tables[-1], console)
    means = {what: sum(tables) / len(tables) for what, tables in found.items()}
    for what, mean in means.items():
        show(f"{what}, mean over origins", mean, console)
    print(json.dumps({what: mean.to_dict(orient="index") for what, mean in means.items()}))


if __name__ == "__main__":
    main()
