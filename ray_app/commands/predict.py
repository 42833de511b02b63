"""demandcast predict: one customer over HTTP, or every customer of a dataset."""

import json as json_module
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from demand.errors import DataError, DemandError, SettingsError
from demand.locations import Location, location, reason
from ray_app.commands.options import DEFAULT_URL, KEY, PLACE, HorizonDays, Json, Model, Url, given
from ray_app.output import check_file, console, emit, say

if TYPE_CHECKING:
    from demand.catalogue import Catalogue
    from demand.dataset import Dataset
    from modeling.registry import ModelVersion
    from training.prediction import Asked


def predict(
    context: typer.Context,
    customer: Annotated[
        Location | None, typer.Option(help="JSON file: a customer record, or a whole request.", **PLACE)
    ] = None,
    url: Url = DEFAULT_URL,
    data: Annotated[
        Location | None, typer.Option(help="Dataset folder: predict for every customer in it.", **PLACE)
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="With --data, nothing from this date on is read; a customer's record may have nothing from it on."
        ),
    ] = None,
    out: Annotated[Location | None, typer.Option(help="Parquet file to write (with --data).", **PLACE)] = None,
    model: Model = "demand@champion",
    horizon_days: HorizonDays = None,
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="Items for each customer.")] = 20,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell why each item is expected (with --customer; up to 20 items).")
    ] = False,
    json: Json = False,
) -> None:
    """Predict for one customer (--customer, asks a running endpoint) or for all (--data, --as-of and --out).

    Options that are given count for more than what a request's file says.

    Where the endpoint wants a key, DEMANDCAST_API_KEY gives it.
    """
    said = given(context).keys()
    if customer and not data:
        if said & {"model", "out"}:
            raise SettingsError("--model and --out go with --data FOLDER: an endpoint has its model, and --json prints")
        asked = {"as_of": as_of, "horizon_days": horizon_days, "top_k": top_k, "explain": explain}
        answer = ask(url, read_request(customer) | {name: asked[name] for name in asked.keys() & said})
        console.print(demand_table(answer["demands"]))
        if answer["unknown_items"]:
            say(f"unknown to the model: {', '.join(answer['unknown_items'])}")
        emit(answer, json)
    elif explain:
        raise SettingsError("--explain goes with --customer FILE")
    elif data and as_of and out and not customer:
        count = predict_dataset(data, as_of, out, model, horizon_days, top_k)
        say(f"{count:,} customers, top {top_k} each: {out}")
        emit({"customers": count, "out": str(out), "as_of": as_of}, json)
    else:
        raise SettingsError("give --customer FILE, or --data FOLDER with --as-of DATE and --out FILE")


def read_request(file: Location) -> dict[str, Any]:
    """A request from a file that holds one, or a bare customer record."""
    try:
        content = json_module.loads(file.read_text())
    except OSError as error:
        raise DataError(f"{file}: {reason(error)}") from None
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} must hold a JSON object")
    return content if "customer" in content else {"customer": content}


def ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The endpoint's answer to a prediction request, with the key that KEY holds."""
    import httpx
    from pydantic import ValidationError

    from serving.client import Client, PredictError
    from serving.problems import invalid
    from serving.schemas import PredictRequest

    try:
        asked = PredictRequest.model_validate(body)
    except ValidationError as error:
        raise DataError(str(invalid(error.errors()))) from None
    try:
        with Client(url, os.environ.get(KEY), retries=1) as client:
            answer = client.predict(
                asked.customer,
                as_of=asked.as_of,
                horizon_days=asked.horizon_days,
                top_k=asked.top_k,
                explain=asked.explain,
            )
    except ValidationError:
        raise DemandError(f"what {url} answers is not what this version of demandcast understands") from None
    except PredictError as error:
        raise DemandError(f"{url} answered {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise DemandError(f"no answer from {url} ({error}): start one with 'demandcast serve'") from None
    return answer.model_dump()


def predict_dataset(data: Location, as_of: str, out: Location, model: str, horizon_days: int | None, top_k: int) -> int:
    """Every customer with an order before a date, into a Parquet file; returns how many they were."""
    from training.prediction import predict_all

    version, asked = asked_of(data, as_of, model, horizon_days, out)
    with console.status(f"predicting with {version}"):
        return predict_all(asked, out, top_k)


def asked_of(
    data: Location, as_of: str, model: str, horizon_days: int | None, out: Location
) -> "tuple[ModelVersion, Asked]":
    """What a registered model is to be asked about every customer; Ray, and a place for the answers, are ready then.

    Raises:
        DataError: the folder is no dataset, the model knows none of its items, or `as_of` is no date.
        SettingsError: no file can be at `out`, or the model can be asked about no number of days.
        ModelNotFoundError: there is no such model.
    """
    from demand.dataset import Dataset
    from demand.moments import moment
    from demand.prompts import NEXT_ORDER
    from modeling.registry import Registry
    from ray_app.cluster import connect
    from ray_app.home import Home
    from training.prediction import Asked

    check_file("--out", out)
    dataset = Dataset.open(data)
    when = moment(as_of)
    version = Registry(Home.here().folder).resolve(model)
    asked = Asked(data, location(version.checkpoint), when, horizon_days or NEXT_ORDER)
    check_items(dataset, asked.catalogue, version)
    connect()
    return version, asked


def check_items(dataset: "Dataset", catalogue: "Catalogue", version: "ModelVersion") -> None:
    """Raises DataError where a model was made for other data: it knows none of the items."""
    known = set(catalogue.item_ids)
    if known and known.isdisjoint(dataset.table("items", ["item_id"])["item_id"].to_pylist()):
        raise DataError(f"{version} knows no item of {dataset.folder}: name a model of this data with --model")


def demand_table(demands: list[dict[str, Any]]) -> Table:
    """Predicted demands for people."""
    table = Table()
    for column in ("", "item", "probability", "quantity", "amount"):
        table.add_column(column, justify="left" if column == "item" else "right")
    for rank, demand in enumerate(demands, start=1):
        numbers = (f"{demand[key]:.2f}" for key in ("expected_quantity", "expected_amount"))
        why = f"\n[dim]{escape(demand['reasons']['sentence'])}[/]" if "reasons" in demand else ""
        table.add_row(str(rank), escape(demand["name"]) + why, f"{demand['probability']:.1%}", *numbers)
    return table
