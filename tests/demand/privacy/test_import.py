"""What an import does for people's privacy: pseudonyms, consent, attributes by allow-list and clean texts."""

import hashlib
import hmac
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.importing import import_dataset
from demand.privacy.consent import Consent
from demand.privacy.guard import Guard
from demand.privacy.pseudonyms import KEY_VARIABLE, PseudonymKey
from demand.privacy.texts import Cleaner
from demand.sources import SourceOptions, source
from demand.tables import TABLES

SECRET = b"a secret of the company's vault"
PEOPLE = ("anna", "bert", "carl")


def shop_folder(folder: Path) -> Path:
    """Three customers with an order, a review and attributes each, and a bad row that names one of them."""
    folder.mkdir(parents=True)
    lines = [f"{name},basket-{name},2024-01-0{day},milk,1,2.5\n" for day, name in enumerate(PEOPLE, start=1)]
    bad = "anna,basket-anna,2024-01-09,milk,-1,anna@example.com\n"
    (folder / "orders.csv").write_text("customer_id,order_id,ts,item_id,quantity,amount\n" + "".join(lines) + bad)
    reviews = [f"{name},2024-02-01,milk,5,write to {name}@example.com\n" for name in PEOPLE]
    (folder / "reviews.csv").write_text("customer_id,ts,item_id,rating,text\n" + "".join(reviews))
    people = [f"{name},{30 + age},{name} street\n" for age, name in enumerate(PEOPLE)]
    (folder / "customers.csv").write_text("customer_id,age,address\n" + "".join(people))
    return folder


def imported(folder: Path, out: Path, guard: Guard | None = None) -> dict:
    return import_dataset("csv", source("csv", SourceOptions(path=folder)), out, guard=guard)


def pseudonym(customer: str) -> str:
    return hmac.new(SECRET, customer.encode(), hashlib.sha256).hexdigest()[:32]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shop_folder(tmp_path / "csv")


def test_ids_become_keyed_hashes_and_neither_they_nor_the_key_are_kept_anywhere(folder: Path, tmp_path: Path) -> None:
    manifest = imported(folder, tmp_path / "data", Guard(PseudonymKey(SECRET), attributes=["age"]))

    data = Dataset.open(tmp_path / "data")
    assert data.customer_ids == sorted(map(pseudonym, PEOPLE))
    assert manifest["privacy"]["pseudonyms"]["method"] == "HMAC-SHA256"
    files = list((tmp_path / "data").iterdir())
    everything = "".join(
        str(pq.read_table(file).to_pylist()) if file.suffix == ".parquet" else file.read_text() for file in files
    )
    for word in (*PEOPLE, *(f"basket-{name}" for name in PEOPLE), SECRET.decode(), "street"):
        assert word not in everything
    (row,) = data.table("quarantine").to_pylist()
    assert (row["file"], row["row"], row["text"]) == ("orders.csv", 4, "(withheld)")


def test_the_same_key_gives_the_same_dataset_and_another_is_noticed(folder: Path, tmp_path: Path) -> None:
    first = imported(folder, tmp_path / "data", Guard(PseudonymKey(SECRET)))

    again = imported(folder, tmp_path / "data", Guard(PseudonymKey(SECRET)))
    assert again["content_hash"] == first["content_hash"]
    for guard, complaint in ((Guard(PseudonymKey(b"another secret of them")), "another pseudonym"), (Guard(), "no ps")):
        with pytest.raises(DataError, match=complaint):
            imported(folder, tmp_path / "data", guard)
    assert Dataset.open(tmp_path / "data").content_hash == first["content_hash"]


def test_a_key_comes_from_a_file_or_the_environment_and_is_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    file = tmp_path / "key"
    file.write_bytes(SECRET + b"\n")

    assert PseudonymKey.of(None) is None
    from_file = PseudonymKey.of(file)
    monkeypatch.setenv(KEY_VARIABLE, SECRET.decode())
    from_environment = PseudonymKey.of(None)

    assert from_file is not None
    assert from_environment is not None
    assert from_file.customer("anna") == from_environment.customer("anna") == pseudonym("anna")
    assert SECRET.decode() not in repr(from_file)
    file.write_text("fifteen letters")
    with pytest.raises(SettingsError, match="16 bytes or more, this one has 15"):
        PseudonymKey.of(file)
    with pytest.raises(SettingsError, match="No such file"):
        PseudonymKey.of(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("rows", "allowed"),
    [
        ("customer_id,consent\nanna,true\nbert,false\n", {"anna"}),
        ("customer_id,consent\nanna,Yes\n bert ,1\ncarl,\n", {"anna", "bert"}),
        ("customer_id,consent\nanna,yes\nanna,no\nbert,1\n", {"bert"}),
        ("customer_id\nanna\ncarl\n", {"anna", "carl"}),
    ],
)
def test_who_gave_no_consent_is_left_out_and_counted(
    folder: Path, tmp_path: Path, rows: str, allowed: set[str]
) -> None:
    (tmp_path / "consent.csv").write_text(rows)

    manifest = imported(folder, tmp_path / "data", Guard(consent=Consent.read(tmp_path / "consent.csv")))

    data = Dataset.open(tmp_path / "data")
    assert set(data.customer_ids) == allowed
    assert set(data.table("reviews")["customer_id"].to_pylist()) == allowed
    left_out = len(PEOPLE) - len(allowed)
    assert manifest["privacy"]["consent"] == {"customers_left_out": left_out}
    rejected = {"amount cannot be read as double": 1}
    assert manifest["files"]["orders.csv"] == {
        "in": 4, "kept": len(allowed), "left_out": left_out, "rejected": rejected
    }  # fmt: skip
    assert data.table("quarantine")["text"].to_pylist() == ["(withheld)"]
    with pytest.raises(DataError, match="give --consent"):
        imported(folder, tmp_path / "data")


def test_a_list_of_consent_may_be_parquet_with_numbers_for_ids(tmp_path: Path) -> None:
    long = 1234567890123456789
    rows = {"customer_id": [7, 8, long, None], "consent": [1, 0, 1, None]}
    pq.write_table(pa.table(rows), tmp_path / "consent.parquet")

    consent = Consent.read(tmp_path / "consent.parquet")

    assert consent.given(pa.chunked_array([["7", "8", str(long), "9"]])).to_pylist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("customer_id,consent\nanna,maybe\n", "row 1: consent must be"), ("customer\nanna\n", "no column 'customer_id'")],
)
def test_a_list_of_consent_that_cannot_be_read_is_an_error(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "consent.csv").write_text(content)

    with pytest.raises(DataError, match=complaint) as caught:
        Consent.read(tmp_path / "consent.csv")
    assert "anna" not in str(caught.value)


def test_attributes_are_kept_by_name(folder: Path, tmp_path: Path) -> None:
    manifest = imported(folder, tmp_path / "data", Guard(attributes=["age"]))

    table = pq.read_table(tmp_path / "data" / "customers.parquet")
    assert [dict(each) for each in table["attributes"].to_pylist()] == [{"age": "30"}, {"age": "31"}, {"age": "32"}]
    assert manifest["privacy"]["attributes"] == ["age"]
    with (folder / "customers.csv").open("a") as people:
        people.write(",40,nobody's street\n")
    imported(folder, tmp_path / "again", Guard(attributes=["age"]))
    assert "street" not in str(Dataset.open(tmp_path / "again").table("quarantine").to_pylist())
    with pytest.raises(DataError, match=r"--attributes agee: .* there are address, age"):
        imported(folder, tmp_path / "other", Guard(attributes=["age", "agee"]))
    assert not (tmp_path / "other").exists()


attributes = st.none() | st.dictionaries(st.sampled_from("abcd"), st.text(max_size=3), max_size=4)


@settings(max_examples=50)
@given(st.lists(attributes, min_size=1, max_size=8), st.sets(st.sampled_from("abcd")))
def test_of_any_attributes_those_allowed_are_left(people: list[dict[str, str] | None], allowed: set[str]) -> None:
    values = [None if each is None else sorted(each.items()) for each in people]
    rows = [{"customer_id": str(number), "attributes": value} for number, value in enumerate(values)]
    table = pa.Table.from_pylist(rows, schema=TABLES["customers"])
    kept = Guard(attributes=sorted(allowed)).rows("customers", table)

    expected = [None if p is None else {name: p[name] for name in p if name in allowed} for p in people]
    assert [None if each is None else dict(each) for each in kept["attributes"].to_pylist()] == expected


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("write to Bob.O'Neil+x@mail.example.co.uk.", "write to [email]."),
        ("jürgen@müller.example, please", "[email], please"),
        ("card 4111 1111 1111 1111 was charged", "card [card] was charged"),
        ("paid 20 5555-5555-5555-4444 twice", "paid 20 [card] twice"),
        ("378282246310005", "[card]"),
        ("call (415) 555-2671 now", "call [phone] now"),
        ("ring +49 171 1234567 or 020 7946 0958", "ring [phone] or [phone]"),
        ("bob@example.com, 4111111111111111, +33 6 12 34 56 78", "[email], [card], [phone]"),
        ("bought on 2024-01-15 at 12:30 for 1,234.56", None),
        ("EAN 4006381333931 of 10 x 250 g", None),
        ("@home, 5 stars", None),
        ("4111 1111 1111 1112 has a wrong check digit", None),
        ("", None),
    ],
)
def test_texts_lose_addresses_cards_and_phones_and_nothing_else(text: str, clean: str | None) -> None:
    found = Cleaner().column(pa.chunked_array([[text, None]]))

    assert found.to_pylist() == [text if clean is None else clean, None]


def test_what_was_cleaned_is_counted(folder: Path, tmp_path: Path) -> None:
    manifest = imported(folder, tmp_path / "data")

    texts = pq.read_table(tmp_path / "data" / "reviews.parquet")["text"].to_pylist()
    assert texts == ["write to [email]"] * 3
    assert manifest["privacy"] == {"texts_cleaned": {"email": 3}}


def test_a_text_of_any_length_is_cleaned() -> None:
    noise = "x" * 300_000 + "@" * 1_000 + "7" * 10_000

    assert Cleaner().text(f"{noise} anna@example.org") == f"{noise} [email]"


def test_a_region_without_phones_is_an_error() -> None:
    with pytest.raises(SettingsError, match="--phone-region XX"):
        Cleaner(["XX"])
    assert Cleaner(["PL"]).text("dzwoń 601 234 567") == "dzwoń [phone]"


def test_data_without_people_in_need_of_it_is_imported_as_before(folder: Path, tmp_path: Path) -> None:
    (folder / "reviews.csv").unlink()

    manifest = imported(folder, tmp_path / "data")

    assert "privacy" not in manifest
    assert manifest["files"]["customers.csv"] == {"in": 3, "kept": 3, "rejected": {}}
    assert pd.read_parquet(tmp_path / "data" / "quarantine.parquet")["text"][0].startswith("anna | basket-anna")
    assert json.loads((tmp_path / "data" / "manifest.json").read_text()) == manifest
