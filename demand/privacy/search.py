"""The proof of an erasure: every file of a folder is searched for what the customer is called."""

import csv
import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Engine

from demand.errors import DataError
from demand.locations import Location, files_below, local, passed_over
from demand.privacy.databases import SQLITE, opened, tables_that_name
from demand.privacy.identity import CUSTOMER, Identity

PARQUET = b"PAR1"
SAMPLE = 8_192


@dataclass(frozen=True)
class Proof:
    """What a search found.

    Attributes:
        searched: files that were read to their end.
        found: files that name the customer, and where in them.
        unread: files and folders that could not be read, and links that lead elsewhere; what is there is not known.
    """

    searched: int
    found: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found, in all files."""
        return not self.found and not self.unread


def search(folder: Location, who: Identity, others: Iterable[Location] = ()) -> Proof:
    """Reads every file below a folder: Parquet and Arrow decoded, SQLite by tables and bytes, others as they are.

    Args:
        others: folders that are searched too, into which links may lead.
    """
    searched, found, unread = 0, [], []
    for file in files_below(folder):
        try:
            with local(file) as here:
                found += [f"{file}: {place}" for place in _places(here, who)]
            searched += 1
        except FileNotFoundError:
            continue  # a passing one, of a database or of another process
        except (OSError, pa.ArrowException, DataError) as error:
            unread.append(f"{file}: {type(error).__name__}")
    unread += [f"{place}: {why}" for place, why in passed_over(folder, [folder, *others])]
    return Proof(searched, tuple(found), tuple(unread))


def search_database(engine: Engine, who: Identity) -> Proof:
    """Reads every table of a database; counts as one file."""
    return Proof(1, tuple(f"{engine.url}: table {each}" for each in tables_that_name(engine, who)), ())


def _places(file: Path, who: Identity) -> Iterator[str]:
    """Where a file names the customer."""
    with file.open("rb") as stream:
        start = stream.read(SAMPLE)
    if start.startswith(PARQUET):
        yield from _in_tables(file, who)
        return
    if start.startswith(SQLITE):
        with opened(file) as engine:
            yield from (f"table {each}" for each in tables_that_name(engine, who))
    if file.suffix == ".arrow":
        with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as batches:
            if any(pc.any(who.rows(pa.Table.from_batches([each]))).as_py() for each in batches):
                yield "rows"
    if not start:
        return
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if (who.in_bytes if b"\0" in start else who.in_text).search(content):
            yield "its text"
        elif CUSTOMER.encode() in start.partition(b"\n")[0] and _in_csv(file, who):
            yield f"column {CUSTOMER}"


def _in_tables(file: Path, who: Identity) -> Iterator[str]:
    rows = 0
    with pq.ParquetFile(file, pre_buffer=False) as groups:
        for batch in groups.iter_batches():
            rows += pc.sum(who.rows(pa.Table.from_batches([batch]))).as_py() or 0
    if rows:
        yield f"{rows} rows"


def _in_csv(file: Path, who: Identity) -> bool:
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        return any(row.get(CUSTOMER) in who.ids for row in csv.DictReader(lines))
