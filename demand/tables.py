"""The Parquet tables of a dataset folder: names, columns and types. The layout is a contract."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from demand.locations import Location, split

SCHEMA_VERSION = 1
TIMESTAMP = pa.timestamp("us", tz="UTC")

TABLES: dict[str, pa.Schema] = {
    "orders": pa.schema(
        [
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("order_id", pa.string(), nullable=False),
            pa.field("ts", TIMESTAMP, nullable=False),
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("quantity", pa.float64(), nullable=False),
            pa.field("amount", pa.float64(), nullable=False),
            pa.field("store", pa.string()),
        ]
    ),
    "reviews": pa.schema(
        [
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("ts", TIMESTAMP, nullable=False),
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("rating", pa.int8(), nullable=False),
            pa.field("text", pa.string()),
        ]
    ),
    "browsing": pa.schema(
        [
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("ts", TIMESTAMP, nullable=False),
            pa.field("action", pa.string(), nullable=False),
            pa.field("item_id", pa.string()),
            pa.field("text", pa.string()),
        ]
    ),
    "customers": pa.schema(
        [
            pa.field("customer_id", pa.string(), nullable=False),
            pa.field("attributes", pa.map_(pa.string(), pa.string())),
        ]
    ),
    "items": pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("name", pa.string(), nullable=False),
            pa.field("category", pa.string()),
            pa.field("department", pa.string()),
            pa.field("price", pa.float64()),
        ]
    ),
    "promotions": pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            pa.field("start", TIMESTAMP, nullable=False),
            pa.field("end", TIMESTAMP, nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("store", pa.string()),
        ]
    ),
    "quarantine": pa.schema(
        [
            pa.field("file", pa.string(), nullable=False),
            pa.field("row", pa.int64(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
        ]
    ),
}

ADDED = {("orders", "store")}
"""Columns that datasets of an earlier version lack; read as nulls."""

SORT_KEYS: dict[str, list[str]] = {
    "orders": ["customer_id", "ts", "order_id", "item_id"],
    "reviews": ["customer_id", "ts", "item_id"],
    "browsing": ["customer_id", "ts"],
    "customers": ["customer_id"],
    "items": ["item_id"],
    "promotions": ["item_id", "start"],
    "quarantine": ["file", "row"],
}
"""Rows lie in this order, so that a range of customers can be read without reading the rest."""


def read_schema(file: Location) -> pa.Schema:
    """Of a Parquet file."""
    path, filesystem = split(file)
    return pq.read_schema(path, filesystem=filesystem)


def read_table(file: Location, **options: Any) -> pa.Table:
    """A Parquet file as pyarrow.parquet.read_table gives it; of a remote one only what is asked for is fetched."""
    path, filesystem = split(file)
    return pq.read_table(path, filesystem=filesystem, **options)


def scan_table(
    file: Location, columns: Sequence[str], chosen: pa.dataset.Expression | None, schema: pa.Schema | None = None
) -> Iterator[pa.Table]:
    """The same in order, a row group of the file at a time: Arrow's scan of a whole file keeps what it has read.

    Args:
        schema: of what is asked for, where the file may lack columns of it.
    """
    path, filesystem = split(file)
    for fragment in pa.dataset.dataset(path, schema, format="parquet", filesystem=filesystem).get_fragments():
        for group in fragment.split_by_row_group(chosen, schema=schema):
            yield group.to_table(schema=schema, columns=list(columns), filter=chosen)
