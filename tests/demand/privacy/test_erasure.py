"""Erasure: nothing of a customer is left, and the search that proves it finds whatever would be."""

import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from demand.dataset import Dataset
from demand.errors import DataError
from demand.importing import import_dataset
from demand.moments import moment
from demand.privacy.erasure import check_key, datasets, erase_from_dataset, erase_from_files
from demand.privacy.guard import Guard
from demand.privacy.identity import Identity
from demand.privacy.membership import learned_from, touched_by
from demand.privacy.pseudonyms import PseudonymKey
from demand.privacy.search import Proof, search
from demand.protocols import Cutoff
from demand.sources import SourceOptions, source
from tests.conftest import write_shop

LONG, SHORT, NUMBER = "4f1d-9a77-customer-c003", "1000", "12345678"


def imported(csv: Path, out: Path, guard: Guard | None = None) -> Dataset:
    import_dataset("csv", source("csv", SourceOptions(path=csv)), out, guard=guard)
    return Dataset.open(out)


def without(csv: Path, customer: str) -> Path:
    """The same files, in which nobody of that id ever was."""
    for file in csv.iterdir():
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith(f"{customer},")))
    return csv


def test_a_dataset_is_as_if_the_customer_had_never_been_imported(tmp_path: Path) -> None:
    data = imported(write_shop(tmp_path / "csv"), tmp_path / "data")
    expected = imported(without(tmp_path / "csv", "c003"), tmp_path / "expected").manifest

    rows = erase_from_dataset(data, Identity(["c003"]))

    manifest = Dataset.open(tmp_path / "data").manifest
    facts = ("content_hash", "rows", "customers", "orders", "first_order", "last_order")
    assert {fact: manifest[fact] for fact in facts} == {fact: expected[fact] for fact in facts}
    assert rows == sum(data.manifest["rows"].values()) - sum(manifest["rows"].values()) > 0
    assert manifest["erased"] == {"customers": 1, "content_hashes": [data.content_hash]}
    assert erase_from_dataset(Dataset.open(tmp_path / "data"), Identity(["c003"])) == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["csv", "data", "expected"]


def test_other_customers_orders_and_items_of_the_same_number_stay(tmp_path: Path) -> None:
    csv = write_shop(tmp_path / "csv", customers=2)
    with (csv / "orders.csv").open("a") as orders:
        orders.write(f"{NUMBER},o1,2024-01-01,item a1,1,1,\nc000,{NUMBER},2024-01-01,{NUMBER},1,1,\n")
        orders.write(f"{NUMBER},o2,2024-01-01,item a1,-3,1,\nc000,{NUMBER},2024-01-01,item a1,-3,1,\n")
    data = imported(csv, tmp_path / "data")

    assert erase_from_dataset(data, Identity([NUMBER])) == 2

    left = Dataset.open(tmp_path / "data")
    assert left.customer_ids == ["c000", "c001"]
    lines = left.table("orders", filters=[("order_id", "==", NUMBER)])
    assert (lines["customer_id"].to_pylist(), lines["item_id"].to_pylist()) == (["c000"], [NUMBER])
    (set_aside,) = pq.read_table(tmp_path / "data" / "quarantine.parquet")["text"].to_pylist()
    assert set_aside.startswith("c000 |")


def test_rows_that_were_set_aside_go_too(tmp_path: Path) -> None:
    csv = write_shop(tmp_path / "csv")
    with (csv / "orders.csv").open("a") as orders:
        orders.write("c003,o1,2024-01-01,item a1,-3,1,\nc004,o2,2024-01-01,item a1,-3,c003,s1\n")
    data = imported(csv, tmp_path / "data")

    erase_from_dataset(data, Identity(["c003"]))

    (left,) = pq.read_table(tmp_path / "data" / "quarantine.parquet")["text"].to_pylist()
    assert left == "c004 | o2 | 2024-01-01 | item a1 | -3 | c003 | s1"  # whose cell is nobody's id, for all one knows


def test_a_row_that_was_set_aside_is_found_however_its_id_was_written_and_has_no_addresses(tmp_path: Path) -> None:
    csv = write_shop(tmp_path / "csv")
    with (csv / "orders.csv").open("a") as orders:
        orders.write(" c003 ,o1,2024-01-01,item a1,-3,1,\n")
    (csv / "reviews.csv").write_text(
        "customer_id,ts,item_id,rating,text\nc004,2024-01-01,item a1,9,write to a@b.example\n"
    )
    data = imported(csv, tmp_path / "data")

    erase_from_dataset(data, Identity(["c003"]))

    (left,) = pq.read_table(tmp_path / "data" / "quarantine.parquet")["text"].to_pylist()
    assert left == "c004 | 2024-01-01 | item a1 | 9 | write to [email]"


def test_a_dataset_of_one_customer_is_not_left_empty(tmp_path: Path) -> None:
    data = imported(write_shop(tmp_path / "csv", customers=1), tmp_path / "data")

    with pytest.raises(DataError, match="nobody's orders would be left"):
        erase_from_dataset(data, Identity(["c000"]))
    assert Dataset.open(tmp_path / "data").content_hash == data.content_hash


def test_pseudonyms_want_the_key_that_made_them(tmp_path: Path) -> None:
    key = PseudonymKey(b"a secret of the company")
    data = imported(write_shop(tmp_path / "csv", customers=3), tmp_path / "data", Guard(key))

    other = PseudonymKey(b"another secret of it")
    for keys in ([], [other]):
        with pytest.raises(DataError, match="give --pseudonym-key"):
            check_key(data, keys)
    check_key(data, [other, key])
    assert erase_from_dataset(data, Identity([key.customer("c001")])) > 0
    assert Dataset.open(tmp_path / "data").customer_ids == sorted(map(key.customer, ("c000", "c002")))


def log_of_events(file: Path, *customers: str) -> None:
    """A database in write-ahead mode, in which rows were deleted before."""
    with sqlite3.connect(file) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table events (event_id text primary key, customer_id text, body json)")
        rows = [(f"{n}", customer, json.dumps({"item": "milk"})) for n, customer in enumerate(customers)]
        database.executemany("insert into events values (?, ?, ?)", rows)
    database.close()


@pytest.mark.parametrize("customer", [LONG, SHORT, NUMBER])
def test_predictions_and_databases_lose_the_customers_rows_and_bytes(tmp_path: Path, customer: str) -> None:
    table = pa.table({"customer_id": ["a", customer, "b"], "item_id": ["x", "1000", "1000"], "rank": [1, 2, 3]})
    pq.write_table(table, tmp_path / "predictions.parquet")
    log_of_events(tmp_path / "events.db", customer, "other", customer)

    changed, left = erase_from_files(tmp_path, Identity([customer]))
    assert not left

    assert changed == [str(tmp_path / "events.db"), str(tmp_path / "predictions.parquet")]
    assert pq.read_table(tmp_path / "predictions.parquet")["customer_id"].to_pylist() == ["a", "b"]
    with sqlite3.connect(tmp_path / "events.db") as database:
        assert database.execute("select customer_id from events").fetchall() == [("other",)]
    database.close()
    assert not any(customer.encode() in file.read_bytes() for file in tmp_path.glob("events.db*"))
    assert search(tmp_path, Identity([customer])).clean
    assert erase_from_files(tmp_path, Identity([customer])) == ([], [])


ids = st.text(st.sampled_from("ab1-: |\"'%_é"), min_size=1, max_size=10) | st.sampled_from(
    [LONG, f"{LONG}:2", SHORT, NUMBER]
)


@settings(max_examples=60)
@given(st.lists(ids, min_size=1, max_size=12), ids)
def test_nobody_else_goes_whatever_ids_look_like(customers: list[str], customer: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(pa.table({"customer_id": customers, "rank": range(len(customers))}), folder / "p.parquet")
        log_of_events(folder / "events.db", *customers)

        changed, _ = erase_from_files(folder, Identity([customer]))

        others = [each for each in customers if each != customer]
        assert bool(changed) == (len(others) < len(customers))
        assert pq.read_table(folder / "p.parquet")["customer_id"].to_pylist() == others
        with sqlite3.connect(folder / "events.db") as database:
            assert database.execute("select customer_id from events order by rowid").fetchall() == [
                (i,) for i in others
            ]
        database.close()


def in_parquet(file: Path, customer: str) -> None:
    pq.write_table(pa.table({"customer_id": [customer]}), file.with_suffix(".parquet"))


def in_attributes(file: Path, customer: str) -> None:
    type_ = pa.map_(pa.string(), pa.string())
    pq.write_table(pa.table({"a": pa.array([None, [("k", f"of {customer}")]], type_)}), file.with_suffix(".parquet"))


def in_a_column_of_text(file: Path, customer: str) -> None:
    pq.write_table(pa.table({"text": [f"see {customer}, please"]}), file.with_suffix(".parquet"))


def in_arrow(file: Path, customer: str) -> None:
    table = pa.table({"customer_id": [customer]})
    with pa.OSFile(f"{file}.arrow", "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)


def in_a_database(file: Path, customer: str) -> None:
    log_of_events(file.with_suffix(".db"), customer)


def in_a_databases_free_page(file: Path, customer: str) -> None:
    in_a_database(file, customer)
    with sqlite3.connect(file.with_suffix(".db")) as database:
        database.execute("pragma secure_delete = off")
        database.execute("delete from events")
    database.close()


def in_json(file: Path, customer: str) -> None:
    file.write_text(json.dumps({"rows": [{"customer_id": customer}]}))


def in_csv(file: Path, customer: str) -> None:
    file.write_text(f"rank,customer_id\n1,{customer}\n")


def in_a_log(file: Path, customer: str) -> None:
    file.write_text(f"asked about {customer}.\n")


def in_safetensors(file: Path, customer: str) -> None:
    save_file({"w": np.zeros(3)}, file, metadata={"note": customer})


def in_bytes(file: Path, customer: str) -> None:
    file.write_bytes(b"\0\1" + customer.encode() + b"\0")


def in_a_hidden_folder(file: Path, customer: str) -> None:
    (file.parent / ".left").mkdir()
    in_parquet(file.parent / ".left" / "orders", customer)


ANYWHERE = (in_attributes, in_a_column_of_text, in_a_databases_free_page, in_a_log, in_safetensors, in_bytes)
AS_A_VALUE = (in_parquet, in_arrow, in_a_database, in_json, in_csv, in_a_hidden_folder)


@pytest.mark.parametrize("put", [*AS_A_VALUE, *ANYWHERE])
def test_the_search_finds_an_id_wherever_it_stands(tmp_path: Path, put: Callable[[Path, str], None]) -> None:
    put(tmp_path / "file", LONG)

    proof = search(tmp_path, Identity([LONG]))

    assert proof.searched >= 1
    assert proof.found
    assert LONG not in str(proof)
    assert search(tmp_path, Identity(["4f1d-9a77-customer-c004"])).clean


@pytest.mark.parametrize("customer", [SHORT, NUMBER])
@pytest.mark.parametrize("put", AS_A_VALUE)
def test_a_short_id_or_a_number_is_found_as_a_customers(
    tmp_path: Path, put: Callable[[Path, str], None], customer: str
) -> None:
    put(tmp_path / "file", customer)

    assert search(tmp_path, Identity([customer])).found


@pytest.mark.parametrize("ascii_", [False, True])
def test_an_id_in_other_letters_is_found_however_json_writes_it(tmp_path: Path, ascii_: bool) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"customer_id": "Jürgen"}, ensure_ascii=ascii_), encoding="utf-8")

    assert search(tmp_path, Identity(["Jürgen"])).found


def test_numbers_and_words_that_only_look_like_ids_are_not_found(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": 1000, "item_id": "1000", "loss": 0.12345678, "n": 9}))
    pq.write_table(pa.table({"item_id": ["1000"], "n": [1000], "t": ["x-12345678"]}), tmp_path / "items.parquet")
    (tmp_path / "empty").touch()

    assert search(tmp_path, Identity([SHORT, "12345678", "Chocolate"])) == Proof(3, (), ())


def test_a_file_that_cannot_be_read_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing else")

    proof = search(tmp_path, Identity([LONG]))

    assert not proof.clean
    assert proof.unread == (f"{tmp_path / 'torn.parquet'}: ArrowInvalid",)


def test_links_that_lead_elsewhere_are_no_proof(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "data").symlink_to(tmp_path / "disk")
    (tmp_path / "home" / "notes.txt").write_text("nothing")
    (tmp_path / "home" / "again.txt").symlink_to(tmp_path / "home" / "notes.txt")
    (tmp_path / "home" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "home" / "circle").symlink_to(tmp_path / "home" / "circle")

    proof = search(tmp_path / "home", Identity([LONG]))

    assert proof == Proof(1, (), (f"{tmp_path / 'home' / 'data'}: a link to elsewhere",))
    assert search(tmp_path / "home", Identity([LONG]), [tmp_path / "disk"]).clean
    assert search(tmp_path / "nothing", Identity([LONG])).clean


def test_datasets_are_found_wherever_a_killed_process_left_them(tmp_path: Path) -> None:
    csv = write_shop(tmp_path / "csv", customers=3)
    for place in ("data/mine", "data/.mine.x7f3/mine"):
        imported(csv, tmp_path / "home" / place)

    found, shut = datasets(tmp_path / "home")
    assert (len(found), shut) == (2, [])


def test_a_dataset_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    imported(write_shop(tmp_path / "csv", customers=3), tmp_path / "home" / "mine")
    (tmp_path / "home" / "mine" / "manifest.json").write_text('{"schema_ver')

    found, shut = datasets(tmp_path / "home")

    assert found == []
    assert shut == [f"{tmp_path / 'home' / 'mine' / 'manifest.json'} is damaged: import the data again"]


def test_whom_a_model_learned_from_is_told_by_its_card(shop: Dataset, tmp_path: Path) -> None:
    card = {
        "data": {"content_hash": shop.content_hash},
        "protocol": Cutoff(cutoff=moment("2024-06-01")).name,
        "customers": 10,
        "settings": {"training": {"seed": 3}},
    }
    drawn = learned_from(card, shop)
    others = sorted(set(shop.customer_ids) - set(drawn))

    assert len(drawn) == 10
    assert touched_by(card, shop, [drawn[0], *others[:4]]) == 1
    assert touched_by(card, shop, others[:4]) == 0
    assert touched_by({**card, "data": {"content_hash": "other"}}, shop, drawn) is None
    data = imported(write_shop(tmp_path / "csv"), tmp_path / "data")
    assert data.content_hash == shop.content_hash
    erase_from_dataset(data, Identity([others[0]]))
    assert touched_by(card, Dataset.open(tmp_path / "data"), others[1:3]) == 2  # nobody knows any more
