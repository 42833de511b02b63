"""Demand totals and the chance of an order, against what forecasters use, at rolling origins.

    make peers
    .venv/bin/python benchmarks/forecasts.py --data DIR --origins 2017-09-11,2017-10-09,2017-11-06

One model, which must have learned from nothing from the first origin on (demandcast train --cutoff), is asked at each
origin about every customer with an order before. Totals are units of the 200 items most sold until then, within 28
days, new customers' purchases among what was really sold: WAPE, the items' absolute errors over the sum sold.
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

from demand.dataset import Dataset
from demand.errors import DemandError
from demand.moments import DAY, moment
from demand.protocols import TEST, Cutoff
from demand.questions import Question
from demand.reliability import brier_score, log_loss, ranking_chance
from modeling.predictor import Predictor
from modeling.registry import Registry
from ray_app.home import Home
from training.totals import totals

ROOT = Path(__file__).resolve().parent.parent
DAYS = 28
MODEL = "demandcast"
PEER = ROOT / ".venv-forecast-peers" / "bin" / "python"


def answers(predictor: Predictor, dataset: Dataset, origin: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The model's units by item, and its chance of an order by customer."""
    protocol = Cutoff(cutoff=moment(origin), days=DAYS)
    predictor.read_sales(protocol.lines(dataset, TEST))
    questions = protocol.questions(dataset, dataset.customer_ids, predictor.catalogue, TEST)
    asked = [Question(each, moment(origin), DAYS) for each in questions.everyone]
    forecasts = predictor.forecasts(asked)
    baskets = questions.horizon_baskets + questions.other_baskets
    rates = forecasts[:, 1:]
    purchases = predictor.purchases(rates, predictor.calibrate(rates, asked), asked)
    found = totals(purchases, questions.everyone, baskets, predictor.catalogue)
    units = pd.DataFrame({"item_id": predictor.catalogue.item_ids, "units": found.expected_quantity})
    orders = pd.DataFrame({"customer_id": [each.customer_id for each in questions.everyone], "chance": forecasts[:, 0]})
    return units.assign(method=MODEL, origin=origin), orders.assign(method=MODEL, origin=origin)


def truth(dataset: Dataset, origin: str) -> pd.DataFrame:
    """Order lines of the days after an origin."""
    lines = dataset.table("orders", ["customer_id", "ts", "item_id", "quantity"]).to_pandas()
    since = pd.Timestamp(moment(origin), unit="us", tz="UTC")
    return lines[(lines.ts >= since) & (lines.ts < since + pd.Timedelta(DAYS * DAY, unit="us"))]


def judged(units: pd.DataFrame, orders: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """By method at one origin: WAPE, bias, AUC, log loss and Brier score, on the same items and customers."""
    items = set(units[units.method != MODEL].item_id)
    sold = then.groupby("item_id").quantity.sum()
    rows: dict[str, dict[str, float]] = {}
    for method, each in units[units.item_id.isin(items)].groupby("method"):
        real = sold.reindex(each.item_id, fill_value=0.0).to_numpy()
        rows[str(method)] = {
            "WAPE": np.abs(each.units.to_numpy() - real).sum() / real.sum(),
            "bias": each.units.sum() / real.sum() - 1,
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
    for origin in origins:
        own_units, own_orders = answers(predictor, dataset, origin)
        found[origin] = judged(
            pd.concat([units[units.origin == origin], own_units]),
            pd.concat([orders[orders.origin == origin], own_orders]),
            truth(dataset, origin),
        )
    console = Console()
    for origin, table in found.items():
        show(f"{DAYS} days from {origin}", table, console)
    mean = sum(found.values()) / len(found)
    show("mean over origins", mean, console)
    print(mean.to_json(orient="index"))


if __name__ == "__main__":
    main()
