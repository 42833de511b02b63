"""Reading a dataset folder: its tables, and its customers as the prompts see them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, reduce
from operator import and_
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demand.customer import Browsing, Customer, Order, Review, merge_lines
from demand.errors import DataError
from demand.locations import MANIFEST, Location, location
from demand.moments import DAY, moment
from demand.tables import ADDED, SCHEMA_VERSION, TABLES, read_schema, read_table, scan_table

Event = TypeVar("Event", Browsing, Review)
CUSTOMERS_READ = 256
"""At a time."""


@dataclass(frozen=True)
class Dataset:
    """A dataset folder that was found to be whole, or a part of it. Open one with `Dataset.open`.

    Attributes:
        only: by column, the values that are left of it (customer_id, item_id); by default all.
        whole_days: all orders of a customer's day are one, at the day's start (UTC).
    """

    folder: Location
    manifest: dict[str, Any]
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    whole_days: bool = False

    @classmethod
    def open(cls, folder: Location | str) -> "Dataset":
        """Checks manifest, files and columns, reading no rows.

        Raises:
            DataError: the folder is no dataset, is incomplete, or was written by another version.
        """
        folder = location(folder)
        manifest_file = folder / MANIFEST
        if not manifest_file.is_file():
            raise DataError(
                f"{folder} is not a dataset folder (no manifest.json): make one with 'demandcast data import'"
            )
        try:
            manifest = json.loads(manifest_file.read_text())
        except ValueError:
            raise DataError(f"{manifest_file} is damaged: import the data again") from None
        if manifest.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                f"{folder} has schema version {manifest.get('schema_version')}, not {SCHEMA_VERSION}: import again"
            )
        for name, schema in TABLES.items():
            _check_table(folder / f"{name}.parquet", schema)
        return cls(folder, manifest)

    @property
    def content_hash(self) -> str:
        """Equal for equal data."""
        return str(self.manifest["content_hash"])

    def ends_before(self, when: int) -> bool:
        """Whether the data end before a moment, but for a day on which nobody may have ordered: days without data look
        like days without orders."""
        return when > (moment(self.manifest["last_order"]) // DAY + 2) * DAY

    def table(self, name: str, columns: list[str] | None = None, filters: Any = None) -> pa.Table:
        """One table, or the columns and rows of it that `filters` (pyarrow.parquet.read_table) lets through.

        Filters see moments as they are in the file, also where days are whole.
        """
        table = read_table(self._file(name), columns=columns, filters=self._chosen(name, filters), schema=TABLES[name])
        return _by_day(table) if self.whole_days and name == "orders" else table

    def lines(self, columns: list[str], filters: Any = None) -> Iterator[pa.Table]:
        """Order lines as `table` gives them, of some customers at a time: all of theirs, and never many.

        Args:
            columns: customer_id among them.
        """
        rest = TABLES["orders"].empty_table().select(columns)
        for batch in scan_table(self._file("orders"), columns, self._chosen("orders", filters), TABLES["orders"]):
            if not len(batch):
                continue
            lines = pa.concat_tables([rest, _by_day(batch) if self.whole_days else batch])
            last = pc.index(lines["customer_id"], lines["customer_id"][-1]).as_py()  # of whom more may come
            if last:
                yield lines.slice(0, last)
            rest = lines.slice(last)
        yield rest

    def buyers(self, filters: Any = None) -> pa.Array:
        """The ids of customers with order lines that `filters` lets through, sorted."""
        ids = [pc.unique(lines["customer_id"]) for lines in self.lines(["customer_id"], filters)]
        return pa.concat_arrays(ids)

    @cached_property
    def customer_ids(self) -> list[str]:
        """Every customer with an order or attributes, sorted."""
        people = self.table("customers", ["customer_id"])["customer_id"].combine_chunks()
        return list(pc.unique(pa.concat_arrays([self.buyers(), people])).sort().to_pylist())

    def customers(self, ids: Sequence[str] | None = None, before: int | None = None) -> Iterator[Customer]:
        """Customers in the order of their ids, with events before a moment only, read some at a time.

        Args:
            ids: sorted ids of those wanted; others that lie between them are read past, so ranges are cheapest.
            before: events from this moment on are not read.
        """
        wanted = self.customer_ids if ids is None else ids
        for start in range(0, len(wanted), CUSTOMERS_READ):
            yield from self._read(wanted[start : start + CUSTOMERS_READ], before)

    def people(self, ids: Sequence[str]) -> Iterator[Customer]:
        """Those of some customers who have attributes, without any event."""
        wanted = frozenset(ids)
        chosen = self._chosen("customers", None)
        for some in scan_table(self._file("customers"), ["customer_id", "attributes"], chosen):
            for customer_id, attributes in zip(*(some[name].to_pylist() for name in some.column_names), strict=True):
                if attributes and customer_id in wanted:
                    yield Customer(customer_id, attributes=dict(attributes))

    def _read(self, ids: Sequence[str], before: int | None) -> Iterator[Customer]:
        wanted = [("customer_id", ">=", ids[0]), ("customer_id", "<=", ids[-1]), ("customer_id", "in", ids)]
        past = [] if before is None else earlier(before)
        orders = _orders(self.table("orders", filters=wanted + past))
        browsing = _events(self.table("browsing", filters=wanted + past), Browsing, ("action", "item_id", "text"))
        rated = self.table("reviews", filters=wanted + past)
        words = pc.fill_null(rated["text"], "")  # some gave stars alone
        rated = rated.set_column(rated.schema.get_field_index("text"), "text", words)
        reviews = _events(rated, Review, ("item_id", "rating", "text"))
        people = self.table("customers", filters=wanted)
        pairs = (dict(each or ()) for each in people["attributes"].to_pylist())
        attributes = dict(zip(people["customer_id"].to_pylist(), pairs, strict=True))
        for customer_id in ids:
            yield Customer(
                customer_id,
                tuple(orders.get(customer_id, ())),
                tuple(browsing.get(customer_id, ())),
                tuple(reviews.get(customer_id, ())),
                attributes.get(customer_id, {}),
            )

    def _file(self, table: str) -> Location:
        return self.folder / f"{table}.parquet"

    def _chosen(self, table: str, filters: Any) -> Any:
        """An expression for what is left of a table and let through."""
        conditions = [
            pc.field(column).isin(list(values)) | pc.field(column).is_null()
            for column, values in self.only.items()
            if column in TABLES[table].names
        ]
        if filters:
            conditions.append(pq.filters_to_expression(filters))
        return reduce(and_, conditions) if conditions else None

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, which need not be sent everyone's id."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def draw(customers: Sequence[str], count: int | None, seed: int) -> list[str]:
    """A random sample of customers, sorted; all of them where fewer are there."""
    if count is None or count >= len(customers):
        return list(customers)
    return sorted(np.random.default_rng(seed).choice(np.array(customers, dtype=object), count, replace=False).tolist())


def earlier(moment: int) -> list[tuple[str, str, Any]]:
    """A filter for `Dataset.table`: only what happened before a moment."""
    return [("ts", "<", pa.scalar(moment, TABLES["orders"].field("ts").type))]


def _check_table(file: Location, schema: pa.Schema) -> None:
    if not file.is_file():
        raise DataError(f"{file} is missing: import the data again")
    try:
        found = read_schema(file)
    except (pa.ArrowException, OSError):
        raise DataError(f"{file} is not a readable Parquet file: import the data again") from None
    for column in schema:
        if column.name not in found.names and (file.stem, column.name) in ADDED:
            continue
        if column.name not in found.names or found.field(column.name).type != column.type:
            raise DataError(f"{file}: column '{column.name}' of type {column.type} is missing: import the data again")


def _by_day(orders: pa.Table) -> pa.Table:
    """Order lines with their day as moment and as order; rows sorted by customer and moment stay so."""
    if "ts" in orders.column_names:
        days = pc.floor_temporal(orders["ts"], unit="day")
        for name, values in (("ts", days), ("order_id", pc.strftime(days, "%Y-%m-%d"))):
            if name in orders.column_names:
                orders = orders.set_column(orders.column_names.index(name), orders.schema.field(name), values)
    return orders


def _orders(table: pa.Table) -> dict[str, list[Order]]:
    """Orders by customer, in time order; lines of the same item within an order added up."""
    columns = [
        table[name].to_pylist() if name != "ts" else table[name].cast(pa.int64()).to_pylist()
        for name in ("customer_id", "ts", "order_id", "item_id", "quantity", "amount", "store")
    ]
    orders: dict[str, list[Order]] = {}
    current: tuple[str, int, str] | None = None
    lines: list[tuple[str, float, float]] = []
    where: str | None = None
    for customer_id, ts, order_id, item_id, quantity, amount, store in zip(*columns, strict=True):
        if (customer_id, ts, order_id) != current:
            if current:
                orders.setdefault(current[0], []).append(merge_lines(current[1], lines, where))
            current, lines, where = (customer_id, ts, order_id), [], store
        lines.append((item_id, quantity, amount))
    if current:
        orders.setdefault(current[0], []).append(merge_lines(current[1], lines, where))
    return orders


def _events(table: pa.Table, make: Callable[..., Event], fields: tuple[str, ...]) -> dict[str, list[Event]]:
    events: dict[str, list[Event]] = {}
    rows = zip(
        table["customer_id"].to_pylist(),
        table["ts"].cast(pa.int64()).to_pylist(),
        *(table[name].to_pylist() for name in fields),
        strict=True,
    )
    for customer_id, ts, *values in rows:
        events.setdefault(customer_id, []).append(make(ts, *values))
    return events
