"""What goes through all rows does not hold them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demand.catalogue import PURCHASES, Catalogue
from demand.dataset import Dataset, earlier
from demand.protocols import TEST, Cutoff, Taiw
from demand.sources import SourceOptions, source
from demand.tables import TABLES, scan_table

ROWS, GROUP = 40_000, 1_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Order lines in 40 row groups, of numbers that cannot be compressed."""
    rng = np.random.default_rng(0)
    rows = {name: [f"{n}" for n in range(ROWS)] for name in ("customer_id", "order_id", "item_id")}
    rows |= {"ts": np.arange(ROWS), "quantity": rng.random(ROWS), "amount": rng.random(ROWS), "store": [None] * ROWS}
    pq.write_table(pa.table(rows, schema=TABLES["orders"]), tmp_path / "orders.parquet", row_group_size=GROUP)
    return tmp_path / "orders.parquet"


def most_held(parts: Iterable[object]) -> int:
    before, held = pa.total_allocated_bytes(), 0
    for _ in parts:
        held = max(held, pa.total_allocated_bytes() - before)
    return held


def test_a_source_is_not_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demand.sources.mapped.CHUNK_ROWS", GROUP)

    assert most_held(source("parquet", SourceOptions(path=file.parent))) < file.stat().st_size / 4


def test_a_table_that_is_scanned_is_not_kept(file: Path) -> None:
    assert most_held(scan_table(file, PURCHASES, None)) < file.stat().st_size / 4


@pytest.mark.parametrize("days", [False, True])
def test_lines_come_in_order_all_of_a_customer_together(shop: Dataset, days: bool) -> None:
    if days:
        shop = Taiw().of(shop)
    parts = list(shop.lines(PURCHASES))

    assert pa.concat_tables(parts).equals(shop.table("orders", PURCHASES))
    ids = [customer for part in parts for customer in part["customer_id"].unique().to_pylist()]
    assert ids == sorted(set(ids)) == shop.buyers().to_pylist()


def test_sales_figures_do_not_depend_on_how_lines_are_cut(shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Cutoff.on(shop)
    whole = protocol.catalogue(shop, TEST)
    monkeypatch.setattr("demand.catalogue.FEWEST_ADDED", 10)
    past = earlier(protocol.moment(TEST))

    lines = (shop.table("orders", PURCHASES, [("customer_id", "=", each), *past]) for each in shop.customer_ids)

    assert Catalogue.of(shop.table("items"), lines).table.equals(whole.table)
