"""Datasets into the log and out of it, by the command line."""

from pathlib import Path

import pandas as pd
import pytest

from demand.customer import Browsing, Customer, Order, Review
from demand.dataset import Dataset
from demand.errors import DataError, SettingsError
from demand.events.log import EventLog, log_url
from demand.moments import moment
from ray_app.commands.options import EVENTS
from ray_app.commands.serve import log_of
from ray_app.home import Home
from serving.loading import events_of
from tests.conftest import CUTOFF, ITEMS
from tests.ray_app.commandline import demandcast, last_json

NOON = moment("2024-05-01T12:00:00Z")


@pytest.fixture(autouse=True)
def no_log_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EVENTS, raising=False)


def test_a_dataset_goes_through_the_log_and_comes_out_with_the_same_customers(shop: Dataset, tmp_path: Path) -> None:
    orders, profiles = shop.manifest["orders"], 40

    out, _ = demandcast("events", "load", "--data", shop.folder, "--before", CUTOFF, "--json", home=tmp_path)
    first = last_json(out)["accepted"]
    out, _ = demandcast("events", "load", "--data", shop.folder, "--json", home=tmp_path)
    assert last_json(out) == {"accepted": orders + profiles - first, "known": first}
    assert profiles < first < orders
    out, _ = demandcast("events", "load", "--data", shop.folder, home=tmp_path)
    assert f"0 events are new, {orders + profiles:,} were known" in out

    out, _ = demandcast("events", "status", "--json", home=tmp_path)
    kinds = last_json(out)["kinds"]
    assert {kind: each["rows"] for kind, each in kinds.items()} == {"order": orders, "profile": profiles}
    assert kinds["order"]["first"] == shop.manifest["first_order"]
    assert kinds["order"]["last"] == shop.manifest["last_order"]

    data = tmp_path / "data"
    out, _ = demandcast("data", "import", "events", "--out", data, "--items", shop.folder, "--json", home=tmp_path)
    found = Dataset.open(data)
    assert list(found.customers()) == list(shop.customers())
    assert found.table("items").equals(shop.table("items"))
    assert last_json(out)["orders"] == orders


def test_browsing_and_reviews_come_out_too_and_what_happened_twice_did(tmp_path: Path) -> None:
    look, rating = Browsing(NOON, "view", "a", None), Review(NOON, "a", 4, "well")
    order = Order(NOON, ("a", "b"), (1.0, 2.0), (3.0, 4.5))
    customer = Customer(
        "c1", (order, order), (look, look, Browsing(NOON, "search", None, "milk")), (rating,), {"a": "b"}
    )
    log = EventLog(log_url(str(tmp_path / "events.db")))

    events = events_of(customer, NOON)
    assert log.append(events) == {each.event_id for each in events_of(customer, NOON)}
    assert len({each.event_id for each in events}) == len(events) == 7
    demandcast("data", "import", "events", "--out", tmp_path / "data", "--events", log.url.database, home=tmp_path)

    (found,) = Dataset.open(tmp_path / "data").customers()
    assert found.orders == customer.orders
    assert sorted(found.browsing, key=str) == sorted(customer.browsing, key=str)
    assert (found.reviews, found.attributes) == (customer.reviews, {"a": "b"})
    (name, *_) = Dataset.open(tmp_path / "data").table("items")["name"].to_pylist()
    assert name == "a"  # by its id


def test_items_are_called_as_a_file_says(shop: Dataset, tmp_path: Path) -> None:
    pd.DataFrame({"item_id": ITEMS[:2], "name": ["One", "Two"], "colour": "red"}).to_csv(tmp_path / "items.csv")
    demandcast("events", "load", "--data", shop.folder, home=tmp_path)

    words = ("data", "import", "events", "--out", tmp_path / "data", "--items")
    demandcast(*words, tmp_path / "items.csv", home=tmp_path)
    items = Dataset.open(tmp_path / "data").table("items")
    assert items["name"].to_pylist() == ["One", "Two", *ITEMS[2:]]
    _, said = demandcast(*words, tmp_path / "none.csv", home=tmp_path, code=2)
    assert "--items takes a dataset folder, or a CSV or Parquet file" in said


def test_what_no_request_could_hold_is_no_event(tmp_path: Path) -> None:
    for customer in (
        Customer("c1", reviews=(Review(NOON, "a", 4, "x" * 10_001),)),
        Customer("c1", (Order(NOON, ("x" * 257,), (1.0,), (1.0,)),)),
        Customer("c\0", (Order(NOON, ("x",), (1.0,), (1.0,)),)),
    ):
        with pytest.raises(DataError, match="customer 'c"):
            events_of(customer, NOON)


def test_where_there_is_no_log_that_is_said(tmp_path: Path) -> None:
    for words in (("events", "status"), ("data", "import", "events", "--out", tmp_path / "data")):
        _, said = demandcast(*words, home=tmp_path / "home", code=2)
        assert "there is no file" in said
        _, said = demandcast(*words, home="s3://bucket/home?region=us-east-1", code=2)
        assert "can hold no log" in said
    assert not (tmp_path / "home").exists()


def test_a_log_is_where_it_is_said_to_be_and_a_password_never_where_others_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    assert log_of(home, None) == log_url(str(tmp_path / "events.db"))
    assert log_of(home, "other.db") == log_url("sqlite:///other.db")
    monkeypatch.setenv(EVENTS, "postgresql://u:secret@127.0.0.1:9/log")
    url = log_of(home, None)
    assert url is not None
    assert (url.password, "secret" in f"{url} {url!r}") == ("secret", False)
    with pytest.raises(SettingsError, match="can read a password") as refused:
        log_of(home, "postgresql://u:secret@h/log")
    assert "secret" not in str(refused.value)
    _, said = demandcast("events", "status", home=tmp_path, code=2)
    assert "cannot be used now" in said
    assert "secret" not in said
