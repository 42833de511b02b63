"""demandcast apply: what predictions are for, over a whole dataset."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from demand.locations import Location
from ray_app.commands.options import PLACE, Data, HorizonDays, Json, Model
from ray_app.commands.predict import asked_of
from ray_app.output import console, emit, say

if TYPE_CHECKING:
    from pydantic import ValidationError

    from demand.errors import SettingsError

app = typer.Typer(no_args_is_help=True)
AsOf = Annotated[str, typer.Option("--as-of", help="Nothing from this date on is read.")]
Out = Annotated[Location, typer.Option("--out", help="Parquet file to write.", **PLACE)]
Horizon = Annotated[int, typer.Option("--horizon-days", min=1, max=91, help="Ask about so many days.")]


@app.command()
def recommend(
    data: Data,
    as_of: AsOf,
    out: Out,
    size: Annotated[int, typer.Option(min=1, max=1_000, help="Items of a list, at most.")] = 10,
    in_stock: Annotated[
        Location | None, typer.Option(help="Text file: ids of the only items that may be shown, one a line.", **PLACE)
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Show items of this category only. May be repeated.")
    ] = None,
    per_category: Annotated[int | None, typer.Option(min=1, help="Items of one category, at most.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="What one of each item may cost together.")] = None,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Show customers also what they own and people buy only once.")
    ] = False,
    diversity: Annotated[
        float, typer.Option(min=0, max=1, help="Each further item of a category counts so much less.")
    ] = 0.0,
    explore: Annotated[
        float, typer.Option(min=0, max=1, help="Share of a list for items that the customer never bought.")
    ] = 0.0,
    by: Annotated[
        Literal["chance", "amount"], typer.Option(help="What makes an item good: its chance, or the spend to expect.")
    ] = "chance",
    model: Model = "demand@champion",
    horizon_days: HorizonDays = None,
    json: Json = False,
) -> None:
    """A list of items for every customer, within what the shop allows."""
    from pydantic import ValidationError

    from demand.errors import DataError
    from demand.uses.recommendation import Wish
    from training.applications import recommend_all

    try:
        lines = in_stock.read_text().removeprefix("\ufeff").splitlines() if in_stock else []
    except (OSError, UnicodeDecodeError):
        raise DataError(f"--in-stock {in_stock} is not a readable text file") from None
    stock = frozenset(filter(None, map(str.strip, lines))) if in_stock else None
    try:
        wish = Wish(
            size=size,
            in_stock=stock,
            categories=frozenset(category) if category else None,
            per_category=per_category,
            budget=budget,
            repeats=repeats,
            diversity=diversity,
            explore=explore,
            by=by,
        )
    except ValidationError as error:
        raise _wrong_option(error) from None
    version, asked = asked_of(data, as_of, model, horizon_days, out)
    if stock is not None and stock.isdisjoint(asked.catalogue.item_ids):
        raise DataError(f"--in-stock {in_stock} names no item of the model's catalogue")
    with console.status(f"recommending with {version}"):
        count = recommend_all(asked, wish, out)
    say(f"{count:,} customers, lists of {size} at most: {out}")
    emit({"model": str(version), "customers": count, "out": str(out)}, json)


@app.command()
def forecast(
    data: Data,
    as_of: AsOf,
    out: Out,
    by: Annotated[str, typer.Option(help="item, category, department or all.")] = "item",
    stores: Annotated[
        bool, typer.Option("--stores", help="Of each store: what is bought where it was before.")
    ] = False,
    weeks: Annotated[bool, typer.Option("--weeks", help="Of each week of the horizon.")] = False,
    model: Model = "demand@champion",
    horizon_days: Horizon = 28,
    json: Json = False,
) -> None:
    """What all customers together will buy, with intervals that hold 50, 80 and 95 percent of what comes.

    All parts add up. The two periods before, as long as the horizon, are forecast too: they say how items sell against
    what is expected of them, and how far totals are off.
    """
    from demand.dataset import Dataset
    from demand.moments import DAY
    from demand.uses.supply import Split
    from modeling.checkpoint import load_checkpoint
    from training.drift import trained_before
    from training.forecasting import forecast as forecast_all

    version, asked = asked_of(data, as_of, model, horizon_days, out)
    card = load_checkpoint(version.checkpoint).card
    if "trained_before" in card and trained_before(card) > asked.as_of - 2 * horizon_days * DAY:
        say("the model has learned from the periods before, by which intervals are made: they may be too narrow")
    if (dataset := Dataset.open(data)).ends_before(asked.as_of):
        last = dataset.manifest["last_order"][:10]
        say(f"the data end on {last}: days from then to {as_of} count as days without orders, and lower the forecast")
    with console.status(f"forecasting with {version}"):
        found = forecast_all(asked, Split(by, stores, weeks), out)
    units, amount = float(found.expected.units.sum()), float(found.expected.amount.sum())
    parts = by + " and store" * stores + " and week" * weeks
    say(
        f"{units:,.0f} units, {amount:,.0f} spent within {horizon_days} days; "
        f"a total of 100 by {parts} is off by {found.spread.share:.0%} beyond chance: {out}"
    )
    facts = {"by": by, "groups": found.expected.units.size, "expected_quantity": units, "expected_amount": amount}
    off = {"spread": found.spread.share, "falls": found.spread.falls}
    emit({"model": str(version), **facts, **off, "out": str(out)}, json)


@app.command()
def audience(
    data: Data,
    as_of: AsOf,
    out: Out,
    item: Annotated[list[str] | None, typer.Option(help="Id of an item. May be repeated: any of them.")] = None,
    category: Annotated[str | None, typer.Option(help="Anything of this category.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="So many customers.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="All from this chance on.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="As many as this pays for, with --cost.")] = None,
    cost: Annotated[float | None, typer.Option(min=0, help="Of asking one customer.")] = None,
    model: Model = "demand@champion",
    horizon_days: Horizon = 28,
    json: Json = False,
) -> None:
    """The customers who are most likely to want an item, or something of a category; never fewer than 10."""
    from training.applications import gather, wanted

    version, asked = asked_of(data, as_of, model, horizon_days, out)
    items = wanted(asked.catalogue, item or [], category)
    with console.status(f"asking {version}"):
        found = gather(asked, items, out, size=size, threshold=threshold, budget=budget, cost=cost)
    say(
        f"{len(found.rows):,} customers, of whom {found.response:,.0f} will buy within {horizon_days} days: "
        f"{found.reached:.0%} of all who will: {out}"
    )
    facts = {"customers": len(found.rows), "expected_response": found.response, "reached": found.reached}
    emit({"model": str(version), **facts, "out": str(out)}, json)


@app.command("new-product")
def new_product(
    data: Data,
    as_of: AsOf,
    out: Out,
    name: Annotated[str, typer.Option(help="What it is called, in words that other names share.")],
    category: Annotated[str | None, typer.Option(help="As other items have it.")] = None,
    department: Annotated[str | None, typer.Option(help="As other items have it.")] = None,
    price: Annotated[float | None, typer.Option(help="Of one unit.")] = None,
    model: Model = "demand@champion",
    horizon_days: Horizon = 28,
    json: Json = False,
) -> None:
    """Who will buy what is not sold yet, how much of it, and what they will buy less of.

    It is taken to sell a share of what items like it sell, as those did that were first sold lately.
    """
    from pydantic import ValidationError

    from demand.uses.launch import Product
    from training.applications import launch

    try:
        product = Product(name=name, category=category, department=department, price=price)
    except ValidationError as error:
        raise _wrong_option(error) from None
    version, asked = asked_of(data, as_of, model, horizon_days, out)
    with console.status(f"asking {version}"):
        found = launch(asked, product, out)
    catalogue, between = asked.catalogue, found.range
    say(
        f"{found.units:,.1f} units, {found.amount:,.2f} spent within {horizon_days} days"
        + (f"; 80% of {found.share.launches} launches: {between[0]:,.1f} to {between[1]:,.1f}" if between else "")
    )
    alike = list(zip(found.alike.most, found.taken, strict=True))
    for item, taken in alike[:5]:
        say(f"  {taken:,.1f} of {catalogue.names[item]}")
    say(f"every customer, the likeliest first: {out}")
    facts = {"expected_quantity": found.units, "expected_amount": found.amount, "launches": found.share.launches}
    low, high = between or (None, None)
    taken_from = {catalogue.item_ids[item]: float(taken) for item, taken in alike}
    emit({"model": str(version), **facts, "low": low, "high": high, "taken": taken_from, "out": str(out)}, json)


@app.command()
def risk(
    data: Data,
    as_of: AsOf,
    out: Out,
    model: Model = "demand@champion",
    horizon_days: Horizon = 28,
    json: Json = False,
) -> None:
    """Of every customer: the chance of an order, the spend to expect, and what has changed."""
    from training.applications import risks_of_all

    version, asked = asked_of(data, as_of, model, horizon_days, out)
    with console.status(f"asking {version}"):
        count = risks_of_all(asked, out)
    say(f"{count:,} customers: {out}")
    emit({"model": str(version), "customers": count, "out": str(out)}, json)


def _wrong_option(error: "ValidationError") -> "SettingsError":
    """The first field that is wrong, as the option that it came from."""
    from demand.errors import SettingsError

    first = error.errors()[0]
    return SettingsError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg'].lower()}")
