"""demandcast privacy, and what the command line of an import does for people."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demand.dataset import Dataset
from demand.events.log import EventLog, log_url
from demand.events.model import Event
from demand.moments import moment
from demand.privacy.pseudonyms import PseudonymKey
from modeling.registry import Registry
from ray_app.commands.options import EVENTS
from tests.conftest import CUTOFF, write_shop
from tests.ray_app.commandline import demandcast, last_json

SECRET = "a secret of the company's vault"  # noqa: S105


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state folder with a dataset that holds pseudonyms, and the key beside it."""
    (tmp_path / "key").write_text(SECRET)
    write_shop(tmp_path / "csv")
    import_(tmp_path, "--pseudonym-key", tmp_path / "key")
    return tmp_path / "home"


def import_(folder: Path, *words: object, code: int = 0) -> tuple[str, str]:
    out = folder / "home" / "data" / "mine"
    return demandcast(
        "data",
        "import",
        "csv",
        "--path",
        folder / "csv",
        "--out",
        out,
        *words,
        "--json",
        home=folder / "home",
        code=code,
    )


def registered(home: Path, name: str, content_hash: str, customers: int = 40, base: str | None = None) -> str:
    """A model that is nothing but its card."""
    folder = home / "models" / name
    folder.mkdir(parents=True)
    settings = {"training": {"seed": 0}, "base": base}
    data = {"content_hash": content_hash}
    card = {"data": data, "protocol": "cutoff", "customers": customers, "settings": settings}
    (folder / "card.json").write_text(json.dumps(card))
    return str(Registry(home).register("demand", folder, None, {}))


def erased_of(home: Path) -> dict[str, int]:
    out, _ = demandcast("models", "list", "--json", home=home)
    return {each["model"]: each["erased"] for each in last_json(out)["models"]}


def test_a_customer_is_erased_models_are_marked_and_the_proof_is_clean(home: Path) -> None:
    data = Dataset.open(home / "data" / "mine")
    known, gone = registered(home, "known", data.content_hash), registered(home, "gone", "data of last month")
    child = registered(home, "child", data.content_hash, customers=0, base=known)
    grandchild = registered(home, "grandchild", data.content_hash, customers=0, base=child)
    pseudonym = PseudonymKey(SECRET.encode()).customer("c003")
    pq.write_table(data.table("orders").slice(0, 2_000), home / "predictions.parquet")
    (home / "baselines").mkdir()
    words = ("privacy", "erase", "c003", "--pseudonym-key", home.parent / "key", "--json")

    out, err = demandcast(*words, home=home)

    done = last_json(out)
    assert [each["dataset"] for each in done["datasets"]] == [str(home / "data" / "mine")]
    assert done["files"] == [str(home / "predictions.parquet")]
    assert sorted(done["models"]) == [known, gone, child, grandchild]
    assert done["found"] == done["unread"] == []
    assert done["searched"] >= 12
    assert pseudonym not in out + err
    assert not (home / "baselines").exists()
    assert Dataset.open(home / "data" / "mine").manifest["customers"] == 39
    again = last_json(demandcast(*words, home=home)[0])
    assert again["datasets"] == again["files"] == again["models"] == []
    assert erased_of(home) == {known: 1, gone: 1, child: 1, grandchild: 1}
    assert f"{known}: trained on 1 customer since erased: retrain" in demandcast("models", "list", home=home)[0]


@pytest.mark.parametrize("by", ["environment", "option"])
def test_the_log_of_events_loses_the_customer_too_wherever_it_is(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    words: tuple[object, ...] = ("--events", tmp_path / "elsewhere.db")
    if by == "environment":
        monkeypatch.setenv(EVENTS, str(tmp_path / "elsewhere.db"))
        words = ()
    log = EventLog(log_url(str(tmp_path / "elsewhere.db")))
    for name in ("c003", "c004"):  # applications know these
        log.append([Event(f"visit of {name}", name, "browsing", moment(CUTOFF), {"action": "view"})])

    out, _ = demandcast("privacy", "erase", "c003", "--pseudonym-key", tmp_path / "key", "--json", *words, home=home)

    assert log.customer_ids("", 10) == ["c004"]
    assert last_json(out)["files"] == [f"sqlite:///{tmp_path}/elsewhere.db"]
    assert last_json(out)["found"] == []


@pytest.mark.parametrize(
    ("option", "named", "said"),
    [
        ("--events", "evnets.db", "no log of events at {place}"),
        ("--data", "mnie", "{place} is no folder, so nothing was erased"),
    ],
)
def test_a_place_that_is_not_there_is_an_error_and_erases_nothing(
    home: Path, option: str, named: str, said: str
) -> None:
    before, place = Dataset.open(home / "data" / "mine").content_hash, home.parent / named
    words = ("--pseudonym-key", home.parent / "key", option, place)

    _, err = demandcast("privacy", "erase", "c003", *words, home=home, code=2)

    assert said.format(place=place) in err
    assert Dataset.open(home / "data" / "mine").content_hash == before


def test_what_is_left_is_listed_and_an_error(home: Path) -> None:
    pseudonym = PseudonymKey(SECRET.encode()).customer("c003")
    (home / "notes.txt").write_text(f"{pseudonym} complained")

    out, err = demandcast("privacy", "erase", "c003", "--pseudonym-key", home.parent / "key", home=home, code=1)

    assert f"left: {home / 'notes.txt'}: its text" in out
    assert pseudonym not in out
    assert err == ""


def test_a_dataset_that_cannot_be_opened_is_no_proof(home: Path) -> None:
    (home / "data" / "mine" / "manifest.json").write_text("")

    out, _ = demandcast("privacy", "erase", "c003", home=home, code=1)

    assert f"not read: {home / 'data' / 'mine' / 'manifest.json'} is damaged" in out


def test_a_file_that_cannot_be_read_is_listed_and_the_others_are_erased(home: Path) -> None:
    (home / "data" / "a.parquet").write_bytes(b"PAR1 of an import that was killed")
    predictions = home / "data" / "predictions.parquet"
    pq.write_table(pa.table({"customer_id": [PseudonymKey(SECRET.encode()).customer("c003"), "x"]}), predictions)

    out, _ = demandcast("privacy", "erase", "c003", "--pseudonym-key", home.parent / "key", home=home, code=1)

    assert f"not read: {home / 'data' / 'a.parquet'}: ArrowInvalid" in out
    assert "0 name the customer" in out
    assert pq.read_table(predictions)["customer_id"].to_pylist() == ["x"]
    assert Dataset.open(home / "data" / "mine").manifest["customers"] == 39


def test_data_of_two_keys_is_erased_with_both(home: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("another secret of the company's")
    words = ("data", "import", "csv", "--path", tmp_path / "csv", "--pseudonym-key", tmp_path / "new")
    demandcast(*words, "--out", home / "data" / "newer", home=home)
    keys = [word for name in ("key", "new") for word in ("--pseudonym-key", tmp_path / name)]

    demandcast("privacy", "erase", "c003", *keys, home=home)

    assert [Dataset.open(home / "data" / name).manifest["customers"] for name in ("mine", "newer")] == [39, 39]


def test_models_of_other_data_are_not_marked_and_those_that_cannot_be_read_are(home: Path, tmp_path: Path) -> None:
    words = ("data", "import", "csv", "--path", write_shop(tmp_path / "other", customers=3))
    demandcast(*words, "--out", home / "data" / "other", home=home)
    mine, other = (Dataset.open(home / "data" / name).content_hash for name in ("mine", "other"))
    learned, elsewhere = registered(home, "learned", mine), registered(home, "elsewhere", other, customers=3)
    unread = registered(home, "unread", mine)
    (home / "models" / "unread" / "card.json").unlink()

    demandcast("privacy", "erase", "c030", "--pseudonym-key", tmp_path / "key", home=home)

    assert erased_of(home) == {learned: 1, elsewhere: 0, unread: 1}


def test_an_erasure_without_the_key_changes_nothing(home: Path) -> None:
    before = Dataset.open(home / "data" / "mine").content_hash

    _, err = demandcast("privacy", "erase", "c003", home=home, code=2)

    assert "give --pseudonym-key" in err
    assert Dataset.open(home / "data" / "mine").content_hash == before


def test_what_a_killed_erasure_left_is_erased_by_the_next(home: Path) -> None:
    shutil.copytree(home / "data" / "mine", home / "data" / ".mine.k1ll3d" / "mine")

    out, _ = demandcast("privacy", "erase", "c003", "--pseudonym-key", home.parent / "key", "--json", home=home)

    assert len(last_json(out)["datasets"]) == 2


def test_an_import_with_another_key_or_none_is_refused(home: Path) -> None:
    (home.parent / "key").write_text("another secret of theirs")

    for words in ((), ("--pseudonym-key", home.parent / "key")):
        _, err = import_(home.parent, *words, code=2)
        assert "choose another --out" in err


def test_who_gave_up_consent_is_left_out_of_what_is_trained_next(home: Path) -> None:
    model = registered(home, "known", Dataset.open(home / "data" / "mine").content_hash)
    rows = [f"c{number:03},{'no' if number in (3, 5) else 'yes'}\n" for number in range(40)]
    (home.parent / "consent.csv").write_text("customer_id,consent\n" + "".join(rows))
    words: tuple[Any, ...] = (home.parent / "consent.csv", "--data", home / "data" / "mine", "--json")

    out, _ = demandcast("privacy", "consent", *words, "--pseudonym-key", home.parent / "key", home=home)

    assert last_json(out) == {"dataset": str(home / "data" / "mine"), "customers": 2, "models": [model]}
    key = PseudonymKey(SECRET.encode())
    left = set(Dataset.open(home / "data" / "mine").customer_ids)
    assert left == {key.customer(f"c{number:03}") for number in range(40) if number not in (3, 5)}
    assert erased_of(home) == {model: 2}
    again, _ = demandcast("privacy", "consent", *words, "--pseudonym-key", home.parent / "key", home=home)
    assert last_json(again)["customers"] == 0
