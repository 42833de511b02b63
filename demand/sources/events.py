"""The log of events: what an endpoint was told, as a dataset.

An order's id is its event's. Of a customer the last profile counts. What items are called the log does not know: that
comes from another dataset, or from a file with the columns of its items; else an item is called by its id.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import RowMapping
from sqlalchemy.engine import URL

from demand.errors import DataError
from demand.events.log import EventLog
from demand.importing import Chunk
from demand.sources.mapped import columns_of, frames
from demand.tables import TABLES

FILE = "events"
CUSTOMERS = 10_000
"""At a time."""


def chunks(url: URL | None, items: Path | None) -> Iterator[Chunk]:
    """Items, customers with a profile, orders, browsing and reviews, some thousand events at a time.

    Args:
        items: CSV or Parquet file, in which names, categories, departments and prices are read.

    Raises:
        DataError: the file of items cannot be read.
        LogError: there is no log at the URL, or it cannot be read.
    """
    if url is None:
        raise DataError("events needs --events URL, for this state folder can hold no log")
    log = EventLog(url, make=False)
    if items:
        yield from _items(items)
    profiles = groupby(chain.from_iterable(log.events("profile")), key=lambda row: row["customer_id"])
    people: list[dict[str, Any]] = []
    for customer_id, rows in profiles:
        *_, last = rows
        people.append({"customer_id": customer_id, "attributes": last["body"]["attributes"]})
        if len(people) == CUSTOMERS:
            yield _chunk("customers", people)
            people = []
    if people:
        yield _chunk("customers", people)
    for orders in log.events("order"):
        lines = [
            {**_when(row), "order_id": row["event_id"], "store": row["body"].get("store"), **line}
            for row in orders
            for line in row["body"]["items"]
        ]
        yield _chunk("orders", lines)
    for looks in log.events("browsing"):
        yield _chunk("browsing", [{**_when(row), **row["body"]} for row in looks])
    for reviews in log.events("review"):
        yield _chunk("reviews", [{**_when(row), **row["body"]} for row in reviews])


def _items(file: Path) -> Iterator[Chunk]:
    kind = "csv" if file.suffix == ".csv" else "parquet"
    if not file.is_file():
        raise DataError(f"{file}: no such file: --items takes a dataset folder, or a CSV or Parquet file of items")
    columns = [name for name in TABLES["items"].names if name in columns_of(kind, file)]
    for frame in frames(kind, file, columns):
        yield Chunk("items", file.name, frame)


def _when(row: RowMapping) -> dict[str, Any]:
    return {"customer_id": row["customer_id"], "ts": row["ts"]}


def _chunk(table: str, rows: Sequence[dict[str, Any]]) -> Chunk:
    frame = pd.DataFrame(rows, columns=TABLES[table].names)
    if "ts" in frame:
        frame["ts"] = pd.to_datetime(frame["ts"], unit="us", utc=True)
    return Chunk(table, FILE, frame)
