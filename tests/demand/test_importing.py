"""Import: every row is accounted for, and a dataset folder appears whole or not at all."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.dataset import Dataset
from demand.errors import DataError
from demand.importing import Chunk, import_dataset
from demand.sources import SourceOptions, source
from demand.tables import SORT_KEYS, TABLES

HEADER = "customer_id,order_id,ts,item_id,quantity,amount\n"
GOOD = "c1,o1,2024-01-01,milk,1,2.5\n"


def csv_folder(folder: Path, orders: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orders.csv").write_text(orders)
    return folder


def import_csv(folder: Path, out: Path) -> dict:
    return import_dataset("csv", source("csv", SourceOptions(path=folder)), out)


def test_every_table_has_the_contracts_columns_and_order(shop: Dataset) -> None:
    for name, schema in TABLES.items():
        table = pq.read_table(shop.folder / f"{name}.parquet")
        assert table.schema.equals(schema), name
        assert table.equals(table.sort_by([(key, "ascending") for key in SORT_KEYS[name]])), name


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("c1,o1,2024-01-01,milk,-1,2.5", "quantity is not positive"),
        ("c1,o1,2024-01-01,milk,0,2.5", "quantity is not positive"),
        ("c1,o1,2024-01-01,milk,two,2.5", "quantity cannot be read as double"),
        ("c1,o1,2024-01-01,milk,inf,2.5", "quantity cannot be read as double"),
        ("c1,o1,2024-01-01,milk,1,-2.5", "amount is negative"),
        ("c1,o1,2024-02-30,milk,1,2.5", "ts cannot be read as timestamp[us, tz=UTC]"),
        ("c1,o1,0001-01-01,milk,1,2.5", "ts is not between 1971 and 2099"),
        ("c1,o1,1970-01-01,milk,1,2.5", "ts is not between 1971 and 2099"),
        ("c1,o1,9999-12-31,milk,1,2.5", "ts is not between 1971 and 2099"),
        ("c1,o1,2024-01-01,,1,2.5", "item_id is missing"),
        (",o1,2024-01-01,milk,1,2.5", "customer_id is missing"),
    ],
)
def test_a_bad_row_is_set_aside_with_file_row_and_reason(tmp_path: Path, line: str, reason: str) -> None:
    manifest = import_csv(csv_folder(tmp_path / "csv", HEADER + GOOD + line + "\n"), tmp_path / "data")

    (row,) = pq.read_table(tmp_path / "data" / "quarantine.parquet").to_pylist()
    assert (row["file"], row["row"], row["reason"]) == ("orders.csv", 2, reason)
    assert manifest["files"]["orders.csv"] == {"in": 2, "kept": 1, "rejected": {reason: 1}}


cells = st.sampled_from(["c1", "", "7", "-3", "1.5", "nan", "2024-01-01", "2024-13-01", "é\N{SNOWMAN}", " x ", "1e400"])


@settings(max_examples=40)
@given(st.lists(st.lists(cells, min_size=6, max_size=6), max_size=30))
def test_no_row_is_lost_and_no_row_is_fatal(rows: list[list[str]]) -> None:
    frame = pd.DataFrame(rows, columns=HEADER.strip().split(","), dtype=str)
    sure = pd.DataFrame([GOOD.strip().split(",")], columns=frame.columns)
    frame = pd.concat([sure, frame], ignore_index=True)
    with tempfile.TemporaryDirectory() as folder:
        manifest = import_dataset("test", [Chunk("orders", "f", frame)], Path(folder) / "data")

    counts = manifest["files"]["f"]
    assert counts["in"] == len(frame)
    assert counts["in"] == counts["kept"] + sum(counts["rejected"].values())
    assert manifest["rows"]["quarantine"] == sum(counts["rejected"].values())


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    lines = [f"c{n % 3},o{n},2024-01-{n + 1:02},milk,{n + 1},1\n" for n in range(9)]
    shuffled = [lines[n] for n in np.random.default_rng(0).permutation(9)]

    first = import_csv(csv_folder(tmp_path / "a", HEADER + "".join(lines)), tmp_path / "one")
    second = import_csv(csv_folder(tmp_path / "b", HEADER + "".join(shuffled)), tmp_path / "two")

    assert first["content_hash"] == second["content_hash"]


def test_an_item_is_in_the_catalogue_once_however_many_lines_name_it(tmp_path: Path) -> None:
    lines = HEADER + GOOD + "c1,o2,2024-01-02,bread,1,2\nc2,o3,2024-01-03,milk,1,3\n"
    items = "item_id,name\nmilk,Milk\nbread,Bread\nmilk,Whole milk\n"
    csv_folder(tmp_path / "csv", lines).joinpath("items.csv").write_text(items)

    manifest = import_csv(tmp_path / "csv", tmp_path / "data")

    catalogue = Dataset.open(tmp_path / "data").table("items", ["item_id", "name"]).to_pylist()
    assert [(each["item_id"], each["name"]) for each in catalogue] == [("bread", "Bread"), ("milk", "Milk")]
    assert manifest["rows"]["items"] == 2


def test_the_manifest_counts_customers_orders_and_time(tmp_path: Path) -> None:
    lines = [("c2", "o1", 1999), ("c1", "o1", 1971), ("c1", "o2", 1975), ("c1", "o1", 1980)]  # two orders of one number
    text = "".join(f"{customer},{order},{year}-01-01,milk,1,2.5\n" for customer, order, year in lines)

    manifest = import_csv(csv_folder(tmp_path / "csv", HEADER + text), tmp_path / "data")

    assert (manifest["customers"], manifest["orders"]) == (2, 4)
    assert (manifest["first_order"][:4], manifest["last_order"][:4]) == ("1971", "1999")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("customer_id,order_id,ts,item_id,quantity\nc,o,2024-01-01,i,1\n", "amount"),
        ("", "orders.csv"),
        (HEADER, "no usable order line"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path: Path, content: str, named: str) -> None:
    with pytest.raises(DataError, match=named):
        import_csv(csv_folder(tmp_path / "csv", content), tmp_path / "data")

    assert not (tmp_path / "data").exists()


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("x")

    with pytest.raises(DataError, match="not a dataset folder"):
        import_csv(csv_folder(tmp_path / "csv", HEADER + GOOD), tmp_path / "precious")

    assert (tmp_path / "precious" / "thesis.txt").read_text() == "x"


def test_a_second_import_replaces_the_first(tmp_path: Path) -> None:
    import_csv(csv_folder(tmp_path / "a", HEADER + GOOD), tmp_path / "data")
    import_csv(csv_folder(tmp_path / "b", HEADER + GOOD + GOOD.replace("c1", "c2")), tmp_path / "data")

    assert Dataset.open(tmp_path / "data").customer_ids == ["c1", "c2"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "data"]


def test_customers_of_whom_only_the_id_is_known_and_stars_without_words_are_read(tmp_path: Path) -> None:
    folder = csv_folder(tmp_path / "csv", HEADER + GOOD)
    (folder / "customers.csv").write_text("customer_id\nc1\n")
    (folder / "reviews.csv").write_text("customer_id,ts,item_id,rating\nc1,2024-01-02,milk,5\n")

    import_csv(folder, tmp_path / "data")

    (customer,) = Dataset.open(tmp_path / "data").customers()
    assert customer.attributes == {}
    assert [(each.rating, each.text) for each in customer.reviews] == [(5, "")]


def test_through_a_link_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    import_csv(csv_folder(tmp_path / "csv", HEADER + GOOD), tmp_path / "disk" / "data")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "data")

    import_csv(csv_folder(tmp_path / "csv", HEADER + GOOD + "c2,o2,2024-01-01,milk,1,2.5\n"), tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert Dataset.open(tmp_path / "disk" / "data").customer_ids == ["c1", "c2"]


def test_a_killed_import_leaves_the_old_dataset(tmp_path: Path) -> None:
    import_csv(csv_folder(tmp_path / "csv", HEADER + GOOD), tmp_path / "data")
    before = Dataset.open(tmp_path / "data").content_hash
    program = (
        "import sys; from pathlib import Path; from demand.importing import *\n"
        "from demand.sources import source, SourceOptions\n"
        "def stall():\n"
        "    yield from source('csv', SourceOptions(path=Path(sys.argv[1])))\n"
        "    print('half way', flush=True); sys.stdin.read()\n"
        "import_dataset('csv', stall(), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "csv"), str(tmp_path / "data")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half way\n"

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    assert Dataset.open(tmp_path / "data").content_hash == before


@pytest.mark.parametrize("damage", ["missing", "manifest", "column"])
def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path, damage: str) -> None:
    import_csv(csv_folder(tmp_path / "csv", HEADER + GOOD), tmp_path / "data")
    if damage == "missing":
        (tmp_path / "data" / "orders.parquet").unlink()
    elif damage == "manifest":
        (tmp_path / "data" / "manifest.json").unlink()
    else:
        table = pq.read_table(tmp_path / "data" / "orders.parquet").drop_columns("amount")
        pq.write_table(table, tmp_path / "data" / "orders.parquet")

    with pytest.raises(
        DataError, match={"column": "amount", "missing": "orders.parquet", "manifest": "manifest"}[damage]
    ):
        Dataset.open(tmp_path / "data")


def test_a_dataset_from_before_there_were_stores_is_read_all_the_same(tmp_path: Path) -> None:
    import_csv(csv_folder(tmp_path / "csv", HEADER + GOOD), tmp_path / "data")
    before = list(Dataset.open(tmp_path / "data").customers())
    file = tmp_path / "data" / "orders.parquet"
    pq.write_table(pq.read_table(file).drop_columns("store"), file)
    dataset = Dataset.open(tmp_path / "data")

    assert list(dataset.customers()) == before
    assert pa.concat_tables(dataset.lines(["customer_id", "store"]))["store"].null_count == 1


def test_history_before_a_moment_reads_nothing_from_it_on(shop: Dataset) -> None:
    customers = list(shop.customers())
    middle = customers[0].orders[5].ts

    for whole, past in zip(customers, shop.customers(before=middle), strict=True):
        assert past == whole.before(middle)
