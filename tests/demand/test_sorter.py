"""Sorting on disk gives what sorting in memory would."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from demand import importing
from demand.importing import import_dataset
from demand.sorter import Sorter
from demand.sources import SourceOptions, source
from demand.tables import TABLES
from tests.conftest import write_shop

SCHEMA = pa.schema([pa.field("who", pa.string()), pa.field("when", pa.int64()), pa.field("nth", pa.int64())])
KEYS = ["who", "when"]


@pytest.mark.parametrize("names", [1, 3, 100])
@pytest.mark.parametrize("run_bytes", [1, 2_000, 10_000, 1 << 30])
def test_rows_come_back_sorted_and_equal_ones_in_their_order(tmp_path: Path, names: int, run_bytes: int) -> None:
    rng = np.random.default_rng(names)
    rows = pa.table(
        [[f"w{n}é" for n in rng.integers(0, names, 600)], rng.integers(0, 5, 600), range(600)], schema=SCHEMA
    )
    sorter = Sorter(SCHEMA, KEYS, tmp_path / "runs", run_bytes)
    for start in range(0, 600, 15):  # 40 of them, more than FAN_IN
        sorter.add(rows.slice(start, 15))

    tables = list(sorter.tables())

    assert pa.concat_tables(tables).equals(rows.sort_by([(key, "ascending") for key in KEYS]))
    assert not list(tmp_path.glob("runs/*"))


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    (table,) = Sorter(SCHEMA, KEYS, tmp_path).tables()

    assert table.equals(SCHEMA.empty_table())


def test_a_chunk_without_a_good_row_at_the_end_is_no_run(tmp_path: Path) -> None:
    sorter = Sorter(SCHEMA, KEYS, tmp_path, run_bytes=1)
    rows = pa.table([["b", "a"], [1, 2], [1, 2]], schema=SCHEMA)
    for each in (rows, rows, SCHEMA.empty_table()):
        sorter.add(each)

    table = pa.concat_tables(sorter.tables())

    assert table["who"].to_pylist() == ["a", "a", "b", "b"]


def test_an_import_through_the_disk_is_that_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_shop(tmp_path / "csv", customers=10)
    chunks = list(source("csv", SourceOptions(path=folder)))
    pieces = [
        importing.Chunk(each.table, each.file, each.rows.iloc[start : start + 150])
        for each in chunks
        for start in range(0, len(each.rows), 150)
    ]
    in_memory = import_dataset("csv", chunks, tmp_path / "one")
    monkeypatch.setattr(importing, "Sorter", partial(Sorter, run_bytes=500))

    through_the_disk = import_dataset("csv", pieces, tmp_path / "two")

    assert through_the_disk == in_memory
    for name in TABLES:
        assert (tmp_path / "one" / f"{name}.parquet").read_bytes() == (
            tmp_path / "two" / f"{name}.parquet"
        ).read_bytes()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def most_held(rows: int) -> int:
        sorter = Sorter(SCHEMA, KEYS, tmp_path / f"{rows}", run_bytes=100_000)
        rng = np.random.default_rng(rows)
        before, held = pa.total_allocated_bytes(), 0
        for start in range(0, rows, 500):
            names = [f"w{n}" for n in rng.integers(0, rows, 500)]
            sorter.add(pa.table([names, rng.integers(0, 5, 500), range(start, start + 500)], schema=SCHEMA))
            held = max(held, pa.total_allocated_bytes() - before)
        for _ in sorter.tables():
            held = max(held, pa.total_allocated_bytes() - before)
        return held

    assert most_held(80_000) < 1.5 * most_held(16_000) < 4 * 100_000
