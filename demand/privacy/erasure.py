"""Erasure: rows that name a customer go, from datasets, other Parquet files and databases."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demand.dataset import Dataset
from demand.errors import DataError
from demand.importing import Sold, write_tables
from demand.locations import MANIFEST, Location, files_below, local, reason, whole
from demand.privacy.databases import SQLITE, erase_rows, opened
from demand.privacy.identity import CUSTOMER, Identity
from demand.privacy.pseudonyms import PseudonymKey
from demand.privacy.search import PARQUET
from demand.tables import TABLES, read_schema, scan_table

ERASED = "erased"
"""Of a manifest: how many customers were erased since the import, and the hashes of the data before each time."""


def datasets(folder: Location) -> tuple[list[Dataset], list[str]]:
    """Every dataset below a folder, those too that a killed process left behind, and which of them cannot be opened,
    with the reason: whom they name, and by which key, is not known."""
    found, shut = [], []
    for file in files_below(folder):
        if file.name == MANIFEST and (file.parent / "orders.parquet").is_file():
            try:
                found.append(Dataset.open(file.parent))
            except DataError as error:
                shut.append(str(error))
            except OSError as error:
                shut.append(f"{file}: {reason(error)}")
    return found, shut


def check_key(dataset: Dataset, keys: Sequence[PseudonymKey]) -> None:
    """Raises DataError where a dataset holds pseudonyms that none of the keys makes."""
    pseudonyms = dataset.manifest.get("privacy", {}).get("pseudonyms")
    if pseudonyms and pseudonyms["key_fingerprint"] not in [each.fingerprint for each in keys]:
        given = "another key" if keys else "no key"
        raise DataError(f"{dataset.folder} holds pseudonyms, and this is {given}: give --pseudonym-key FILE")


def everyone(dataset: Dataset) -> set[str]:
    """The ids of all customers whom a dataset names, with orders or without."""
    named = [name for name, schema in TABLES.items() if CUSTOMER in schema.names]
    scanned = (scan_table(dataset.folder / f"{name}.parquet", [CUSTOMER], None) for name in named)
    return {id_ for rows in chain.from_iterable(scanned) for id_ in pc.unique(rows[CUSTOMER]).to_pylist()}


def present(dataset: Dataset, ids: Collection[str]) -> set[str]:
    """Those of some customers whom a dataset names."""
    who = Identity(ids)
    found: set[str] = set()
    for name, schema in TABLES.items():
        if CUSTOMER in schema.names:
            rows = dataset.table(name, [CUSTOMER], filters=[(CUSTOMER, "in", who.ids)])
            found.update(pc.unique(rows[CUSTOMER]).to_pylist())
    return found


def erase_from_dataset(dataset: Dataset, who: Identity) -> int:
    """Writes a dataset anew, in one step, as if the customers had never been imported; returns how many rows went.

    The manifest counts what is left, and how many customers were erased, never whom. What it says of files stays.

    Raises:
        DataError: nobody's order would be left.
    """
    gone = sum(_count(who.rows(rows)) for name in TABLES for rows in _scanned(dataset, name))
    if not gone:
        return 0
    before = dataset.manifest
    past = before.get(ERASED, {"customers": 0, "content_hashes": []})
    note = {
        "customers": past["customers"] + len(present(dataset, who.ids)),
        "content_hashes": [*past["content_hashes"], before["content_hash"]],
    }
    with whole(dataset.folder) as fresh:
        fresh.mkdir()
        facts = write_tables(fresh, {name: _without(_scanned(dataset, name), who) for name in TABLES}, Sold())
        if not facts["rows"]["orders"]:
            raise DataError(f"{dataset.folder}: nobody's orders would be left; remove the folder")
        (fresh / MANIFEST).write_text(json.dumps({**before, **facts, ERASED: note}, indent=2))
    return gone


def erase_from_files(folder: Location, who: Identity) -> tuple[list[str], list[str]]:
    """Takes a customer's rows out of all Parquet files with customers below a folder, such as predictions, and of all
    SQLite files. Those of datasets are written with their manifest instead.

    Returns:
        The files that had some, and those that could not be read or written now, with the reason.
    """
    changed, left = [], []
    for file in files_below(folder):
        try:
            if _erase_from_file(file, who):
                changed.append(str(file))
        except FileNotFoundError:
            continue  # a passing one, of a database or of another process
        except (OSError, pa.ArrowException, DataError) as error:
            left.append(f"{file}: {type(error).__name__}")
    return changed, left


def _erase_from_file(file: Location, who: Identity) -> int:
    with local(file) as here, here.open("rb") as stream:
        start = stream.read(len(SQLITE))
    if start.startswith(PARQUET):
        of_dataset = file.stem in TABLES and (file.parent / MANIFEST).is_file()
        return 0 if of_dataset else _erase_from_parquet(file, who)
    if start.startswith(SQLITE) and isinstance(file, Path):
        with opened(file, write=True) as engine:
            return erase_rows(engine, who)
    return 0


def _erase_from_parquet(file: Location, who: Identity) -> int:
    schema = read_schema(file)
    if CUSTOMER not in schema.names:
        return 0
    gone = sum(_count(who.rows(rows)) for rows in scan_table(file, schema.names, None))
    if gone:
        with whole(file) as fresh, pq.ParquetWriter(fresh, schema, compression="zstd") as out:
            for rows in _without(scan_table(file, schema.names, None), who):
                out.write_table(rows)
    return gone


def _scanned(dataset: Dataset, table: str) -> Iterator[pa.Table]:
    """Of a table without rows, too, at least one that is empty."""
    yield TABLES[table].empty_table()
    yield from scan_table(dataset.folder / f"{table}.parquet", TABLES[table].names, None, TABLES[table])


def _without(tables: Iterable[pa.Table], who: Identity) -> Iterator[pa.Table]:
    return (rows.filter(pc.invert(who.rows(rows))) for rows in tables)


def _count(chosen: pa.ChunkedArray) -> int:
    return int(pc.sum(chosen).as_py() or 0)
