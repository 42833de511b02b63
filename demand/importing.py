"""Import: raw rows from a source become a dataset folder, whole or not at all."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demand.errors import DataError
from demand.locations import MANIFEST, Location, whole
from demand.moments import iso
from demand.tables import SCHEMA_VERSION, SORT_KEYS, TABLES
from demand.validation import split_rows

ROW_GROUP = 65_536


@dataclass(frozen=True)
class Chunk:
    """Raw rows of one file for one table.

    `rows` has the contract's column names; its index holds row numbers in `file`. An optional column `rejected` gives
    the source's own reason against a row.
    """

    table: str
    file: str
    rows: pd.DataFrame


@dataclass
class Counts:
    """What became of one source file's rows."""

    rows_in: int = 0
    rows_kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


def import_dataset(
    source: str, chunks: Iterable[Chunk], out: Location, progress: Callable[[str, int], None] = lambda file, rows: None
) -> dict[str, Any]:
    """Writes the dataset folder `out` and returns its manifest.

    The folder appears, or replaces the older one, in one step at the very end: an import that is killed leaves what
    was there. `progress` is told each file and how many rows of it were read so far.

    Raises:
        DataError: a file lacks a column, no order survives the checks, or `out` is a folder of something else.
    """
    if out.is_file() or (any(out.glob("*")) and not (out / MANIFEST).is_file()):
        raise DataError(f"{out} exists and is not a dataset folder: choose another --out")
    with whole(out) as fresh:
        fresh.mkdir()
        return _write(source, chunks, fresh, progress)


def _write(source: str, chunks: Iterable[Chunk], folder: Path, progress: Callable[[str, int], None]) -> dict[str, Any]:
    kept: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    counts: dict[str, Counts] = {}
    for chunk in chunks:
        good, reasons = split_rows(chunk.table, chunk.rows, chunk.file)
        kept[chunk.table].append(good)
        if len(reasons):
            kept["quarantine"].append(_quarantine(chunk, reasons))
        count = counts.setdefault(chunk.file, Counts())
        count.rows_in += len(chunk.rows)
        count.rows_kept += good.num_rows
        count.rejected.update(reasons)
        progress(chunk.file, count.rows_in)
    tables = {
        name: pa.concat_tables([schema.empty_table(), *kept.pop(name)]).sort_by(
            [(key, "ascending") for key in SORT_KEYS[name]]
        )
        for name, schema in TABLES.items()
    }
    if not tables["orders"].num_rows:
        raise DataError(f"{source}: no usable order line in {', '.join(counts) or 'it'}")
    tables["items"] = _complete_items(tables)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=ROW_GROUP, compression="zstd")
    span = pc.min_max(tables["orders"]["ts"].cast(pa.int64()))
    manifest = {
        "source": source,
        "schema_version": SCHEMA_VERSION,
        "rows": {name: table.num_rows for name, table in tables.items()},
        "files": {
            file: {"in": count.rows_in, "kept": count.rows_kept, "rejected": dict(sorted(count.rejected.items()))}
            for file, count in counts.items()
        },
        "customers": len(pc.unique(tables["orders"]["customer_id"])),
        "orders": tables["orders"].group_by(["customer_id", "order_id"]).aggregate([]).num_rows,
        "first_order": iso(span["min"].as_py()),
        "last_order": iso(span["max"].as_py()),
        "content_hash": _content_hash(folder),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))
    return manifest


def _quarantine(chunk: Chunk, reasons: pd.Series) -> pa.Table:
    rows = chunk.rows.loc[reasons.index].drop(columns="rejected", errors="ignore")
    return pa.table(
        [
            pa.array([chunk.file] * len(reasons), pa.string()),
            pa.array(reasons.index, pa.int64()),
            pa.array(reasons, pa.string()),
            pa.array(rows.astype("string").fillna("").agg(" | ".join, axis=1), pa.string()),
        ],
        schema=TABLES["quarantine"],
    )


def _complete_items(tables: dict[str, pa.Table]) -> pa.Table:
    """Every item that an order names is in the catalogue, under its id where the source gave no name."""
    known = tables["items"]
    unknown = sorted(set(pc.unique(tables["orders"]["item_id"]).to_pylist()) - set(known["item_id"].to_pylist()))
    if not unknown:
        return known
    rows = [{"item_id": item, "name": item} for item in unknown]
    return pa.concat_tables([known, pa.Table.from_pylist(rows, schema=TABLES["items"])]).sort_by("item_id")


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in TABLES:
        digest.update(name.encode())
        digest.update(hashlib.sha256((folder / f"{name}.parquet").read_bytes()).digest())
    return digest.hexdigest()
