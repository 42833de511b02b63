"""Import: raw rows from a source become a dataset folder, whole or not at all."""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demand.errors import DataError
from demand.locations import MANIFEST, Location, whole
from demand.moments import iso
from demand.privacy.guard import Guard
from demand.sorter import Sorter
from demand.tables import SCHEMA_VERSION, SORT_KEYS, TABLES
from demand.validation import as_text, split_rows

ROW_GROUP = 65_536
WITHHELD = "(withheld)"
"""In place of a row's text, where it may hold an id that is not to be kept; file and row number still lead to it."""


@dataclass(frozen=True)
class Chunk:
    """Raw rows of one file for one table.

    `rows` has the contract's column names; its index holds row numbers in `file`, of which several rows may have one.
    An optional column `rejected` gives the source's own reason against a row.
    """

    table: str
    file: str
    rows: pd.DataFrame


@dataclass
class Counts:
    """What became of one source file's rows."""

    rows_in: int = 0
    rows_kept: int = 0
    left_out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        """For the manifest; rows of people without consent where there are any."""
        left_out = {"left_out": self.left_out} if self.left_out else {}
        return {
            "in": self.rows_in,
            "kept": self.rows_kept,
            **left_out,
            "rejected": dict(sorted(self.rejected.items())),
        }


class Sold:
    """What order lines say together, counted while they pass by, sorted.

    Attributes:
        customers, orders: how many.
        first, last: moments.
        items: ids.
    """

    def __init__(self) -> None:
        self.customers = self.orders = 0
        self.first, self.last = sys.maxsize, -sys.maxsize
        self.items: set[str] = set()

    def counting(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same lines."""
        open_orders = TABLES["orders"].empty_table().select(_ORDER)  # of a customer of whom more lines may come
        for lines in tables:
            if len(lines):
                self.items.update(pc.unique(lines["item_id"]).to_pylist())
                span = pc.min_max(lines["ts"].cast(pa.int64()))
                self.first, self.last = min(self.first, span["min"].as_py()), max(self.last, span["max"].as_py())
                orders = pa.concat_tables([open_orders, lines.select(_ORDER)]).group_by(_ORDER).aggregate([])
                more = pc.equal(orders["customer_id"], lines["customer_id"][-1])
                self._add(orders.filter(pc.invert(more)))
                open_orders = orders.filter(more)
            yield lines
        self._add(open_orders)

    def _add(self, orders: pa.Table) -> None:
        self.customers += pc.count_distinct(orders["customer_id"]).as_py()
        self.orders += len(orders)


_ORDER = ["customer_id", "ts", "order_id"]


def import_dataset(
    source: str,
    chunks: Iterable[Chunk],
    out: Location,
    progress: Callable[[str, int], None] = lambda file, rows: None,
    guard: Guard | None = None,
) -> dict[str, Any]:
    """Writes the dataset folder `out` and returns its manifest.

    The folder appears, or replaces the older one, in one step at the very end: an import that is killed leaves what
    was there. `progress` is told each file and how many rows of it were read so far.

    Args:
        guard: what is done for people's privacy, once for this import; by default texts are cleaned.

    Raises:
        DataError: a file lacks a column, no order survives the checks, or `out` is a folder of something else, or a
            dataset whose pseudonyms or consent the guard would not keep.
    """
    if out.is_file() or (any(out.glob("*")) and not (out / MANIFEST).is_file()):
        raise DataError(f"{out} exists and is not a dataset folder: choose another --out")
    guard = guard or Guard()
    guard.check(_older_manifest(out), out)
    with whole(out) as fresh:
        fresh.mkdir()
        return _write(source, chunks, fresh, progress, guard)


def _older_manifest(out: Location) -> dict[str, Any]:
    """Of the dataset that is to be replaced; empty where there is none that can be read."""
    try:
        manifest = json.loads((out / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _write(
    source: str, chunks: Iterable[Chunk], folder: Path, progress: Callable[[str, int], None], guard: Guard
) -> dict[str, Any]:
    with TemporaryDirectory(dir=folder.parent) as runs:
        kept = {name: Sorter(schema, SORT_KEYS[name], Path(runs) / name) for name, schema in TABLES.items()}
        counts = _check(chunks, kept, progress, guard)
        protected = guard.summary()
        sold = Sold()
        tables = {name: sorter.tables() for name, sorter in kept.items()}
        tables["items"] = _complete_items(tables["items"], sold)  # once the orders, which come first, were counted
        facts = write_tables(folder, tables, sold)
    if not facts["rows"]["orders"]:
        raise DataError(f"{source}: no usable order line in {', '.join(counts) or 'it'}")
    manifest = {
        "source": source,
        "schema_version": SCHEMA_VERSION,
        "rows": facts.pop("rows"),
        "files": {file: count.summary() for file, count in counts.items()},
        **({"privacy": protected} if protected else {}),
        **facts,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))
    return manifest


def write_tables(folder: Path, tables: Mapping[str, Iterable[pa.Table]], sold: Sold) -> dict[str, Any]:
    """Writes all tables of a dataset, each in the order of its keys, and returns what a manifest says of them.

    Args:
        sold: what is to count the order lines, which are written first.
    """
    counted = {**tables, "orders": sold.counting(tables["orders"])}
    rows = {name: _write_table(folder, name, counted[name]) for name in TABLES}
    if not rows["orders"]:
        return {"rows": rows}
    return {
        "rows": rows,
        "customers": sold.customers,
        "orders": sold.orders,
        "first_order": iso(sold.first),
        "last_order": iso(sold.last),
        "content_hash": _content_hash(folder),
    }


def _check(
    chunks: Iterable[Chunk], kept: Mapping[str, Sorter], progress: Callable[[str, int], None], guard: Guard
) -> dict[str, Counts]:
    """Puts every row where it belongs, and counts what became of each file's."""
    counts: dict[str, Counts] = {}
    for chunk in chunks:
        good, reasons = split_rows(chunk.table, chunk.rows, chunk.file)
        guarded = guard.rows(chunk.table, good)
        kept[chunk.table].add(guarded)
        bad = reasons.notna()
        if bad.any():
            kept["quarantine"].add(_quarantine(chunk.file, chunk.rows[bad], reasons[bad], guard))
        count = counts.setdefault(chunk.file, Counts())
        count.rows_in += len(chunk.rows)
        count.rows_kept += guarded.num_rows
        count.left_out += good.num_rows - guarded.num_rows
        count.rejected.update(reasons[bad])
        progress(chunk.file, count.rows_in)
    return counts


def _quarantine(file: str, rows: pd.DataFrame, reasons: pd.Series, guard: Guard) -> pa.Table:
    if guard.withholds:
        texts = pd.Series(WITHHELD, index=rows.index)
    else:
        left_out = {"customer_id", "rejected"} | ({"attributes"} if guard.attributes is not None else set())
        cells = {name: rows[name].astype("string") for name in rows if name not in left_out}
        if "text" in cells:
            cells["text"] = guard.cleaned(cells["text"])
        if "customer_id" in rows:  # first, and as good rows have it: there an erasure looks for it
            cells = {"customer_id": as_text(rows["customer_id"]), **cells}
        texts = pd.DataFrame(cells, index=rows.index).fillna("").agg(" | ".join, axis=1)
    return pa.table(
        [
            pa.array([file] * len(rows), pa.string()),
            pa.array(rows.index, pa.int64()),
            pa.array(reasons, pa.string()),
            pa.array(texts, pa.string()),
        ],
        schema=TABLES["quarantine"],
    )


def _complete_items(tables: Iterable[pa.Table], sold: Sold) -> Iterator[pa.Table]:
    """Every item that an order names is in the catalogue, once, under its id where the source gave no name.

    Of several rows of one item, as sales files have them, the first is kept; that is no complaint about the others.
    """
    known = _first_of_each(pa.concat_tables(map(_first_of_each, tables)))
    unknown = [{"item_id": item, "name": item} for item in sold.items.difference(known["item_id"].to_pylist())]
    yield pa.concat_tables([known, pa.Table.from_pylist(unknown, schema=known.schema)]).sort_by("item_id")


def _first_of_each(items: pa.Table) -> pa.Table:
    return items.filter(pa.array(~items["item_id"].to_pandas().duplicated()))


def _write_table(folder: Path, name: str, tables: Iterable[pa.Table]) -> int:
    """Writes one file of the dataset and returns its rows. Its bytes do not depend on how they are cut into tables."""
    rows = 0
    with pq.ParquetWriter(folder / f"{name}.parquet", TABLES[name], compression="zstd") as file:
        for group in _groups(tables, ROW_GROUP):
            file.write_table(group)
            rows += len(group)
    return rows


def _groups(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of one size, the last of which may be smaller."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= size:
            rows = pa.concat_tables(waiting)
            for start in range(0, len(rows) // size * size, size):
                yield rows.slice(start, size).combine_chunks()
            waiting = [rows.slice(len(rows) // size * size)]
    yield pa.concat_tables(waiting).combine_chunks()


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in TABLES:
        digest.update(name.encode())
        with (folder / f"{name}.parquet").open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
