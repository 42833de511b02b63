"""The log of events in SQLite, and in a PostgreSQL that the drill starts: what was acknowledged is in it, and once."""

import json
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demand.errors import ConflictError, LogError, LogFullError, RecordError, SettingsError
from demand.events import log as module
from demand.events.log import EventLog, log_url
from demand.events.model import Event, Feedback
from demand.moments import iso, moment
from tests.postgresql import PostgreSQL, postgresql

MAY = moment("2024-05-01")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with postgresql(port) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.drill)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a log that is not there yet."""
    if request.param == "postgresql":
        return request.getfixturevalue("server").database()
    return str(tmp_path / "home" / "events.db")


@pytest.fixture
def log(url: str) -> EventLog:
    return EventLog(log_url(url))


def order(customer_id: str = "c1", ts: int = MAY, event_id: str = "", **line: Any) -> Event:
    body = {"items": [{"item_id": "a", "quantity": 1.0, "amount": 2.5, **line}]}
    return Event(event_id or uuid4().hex, customer_id, "order", ts, body)


def record(log: EventLog, customer_id: str = "c1", before: int = MAY * 2) -> dict[str, Any]:
    return json.loads(log.records([customer_id], before)[customer_id])


def test_what_is_told_again_is_known_and_what_differs_is_refused_with_all_that_came_with_it(log: EventLog) -> None:
    first, second, third = (order(event_id=each) for each in "123")

    assert log.append([second, first, second]) == {"1", "2"}
    assert log.append([first, third]) == {"3"}
    for wrong in (order(event_id="2", quantity=2.0), order("c2", event_id="2"), order(ts=MAY + 1, event_id="2")):
        with pytest.raises(ConflictError) as refused:
            log.append([order(event_id="4"), wrong, first])
        assert refused.value.places == [1]
    with pytest.raises(ConflictError, match="2 of the ids are known with another content, the first at place 1"):
        log.append([order(event_id="5"), order(event_id="5", ts=1), order(event_id="1", ts=1)])
    assert log.append([order(event_id="4"), order(event_id="5")]) == {"4", "5"}
    assert [(each.kind, each.rows) for each in log.counts()] == [("order", 5)]


def test_feedback_is_kept_beside_events_under_ids_of_its_own(log: EventLog) -> None:
    told = Feedback("1", "c1", "demand", 3, MAY, ["a", "b\0"], ["b\0"])

    assert log.append([order(event_id="1")]) == log.append([told]) == {"1"}
    assert log.append([told]) == set()
    with pytest.raises(ConflictError):
        log.append([Feedback("1", "c1", "demand", 3, MAY, ["a"], [])])
    assert [(each.kind, each.rows) for each in log.counts()] == [("order", 1), ("feedback", 1)]
    assert 10_000 < log.size() < 1_000_000


@pytest.mark.parametrize(
    "text", ["\0", "'; drop table events; --", "\U0001f468\u200d\U0001f469", '"}', "\\u0000", "\u202e", ""]
)
def test_any_text_comes_back_as_it_was_told(log: EventLog, text: str) -> None:
    name = text.replace("\0", "") + "x"
    log.append([order(name, item_id=text), Event("p", name, "profile", MAY, {"attributes": {text: text}})])

    found = record(log, name)
    assert found["customer_id"] == name
    assert found["purchase_history"][0]["items"][0]["item_id"] == text
    assert found["demographic_info"] == {text: text}
    assert log.customer_ids("", 10) == [name]


@pytest.mark.parametrize("name", ["nobody", "\0", "c1\0", "\ud800", "x" * 257, "c1' or '1'='1", ""])
def test_whom_the_log_cannot_know_it_does_not_know(log: EventLog, name: str) -> None:
    log.append([order()])

    assert log.records([name], MAY * 2) == {}
    assert log.customer_ids("c1" + name, 10) == []


MOMENTS = st.integers(0, 5).map(lambda days: MAY + days)
TOLD = st.lists(st.tuples(st.sampled_from("ab\u00e4"), st.sampled_from(["order", "profile"]), MOMENTS), max_size=12)


@given(told=TOLD, before=MOMENTS, cuts=st.integers(1, 4))
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_a_record_is_what_was_told_of_before_the_moment(log: EventLog, told: list[Any], before: int, cuts: int) -> None:
    mark = uuid4().hex
    events = [
        order(f"{mark}{who}", ts, quantity=float(place + 1))
        if kind == "order"
        else Event(uuid4().hex, f"{mark}{who}", "profile", ts, {"attributes": {"place": str(place)}})
        for place, (who, kind, ts) in enumerate(told)
    ]
    for start in range(0, len(events), cuts):
        log.append(events[start : start + cuts])
        time.sleep(0.000002)  # what came later was received later

    for who in "ab\u00e4":
        mine = [each for each in events if each.customer_id == f"{mark}{who}" and each.ts < before]
        if not mine:
            assert log.records([f"{mark}{who}"], before) == {}
            continue
        found = record(log, f"{mark}{who}", before)
        bought = [{"ts": iso(each.ts), **each.body} for each in mine if each.kind == "order"]
        assert sorted(found["purchase_history"], key=str) == sorted(bought, key=str)
        moments = [moment(each["ts"]) for each in found["purchase_history"]]
        assert moments == sorted(moments)
        profiles = [each for each in mine if each.kind == "profile"]
        last = max(profiles, key=lambda each: (each.ts, each.received, each.event_id), default=None)
        assert found["demographic_info"] == (last.body["attributes"] if last else {})
    assert [each[-1] for each in log.customer_ids(mark, 3) if each.startswith(mark)] == sorted(
        {who for who, *_ in told}
    )


def test_a_record_holds_the_newest_events_and_never_more_than_so_many_bytes(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(
        [Event(f"{n}", "c1", "browsing", MAY + n, {"action": "view", "text": f"{n:010}"}) for n in range(10_010)]
    )
    log.append([Event(f"r{n}", "c1", "review", MAY + n, {"text": "x" * 10_000}) for n in range(120)])

    found = record(log)
    assert [found["browsing_history"][place]["text"] for place in (0, -1)] == ["0000000010", "0000010009"]
    assert len(found["browsing_history"]) == 10_000
    assert [each["ts"] for each in found["reviews"]] == [iso(MAY + n) for n in range(120 - 104, 120)]  # of 1 MiB
    monkeypatch.setattr(module, "RECORDS_BYTES", 1_000_000)
    with pytest.raises(RecordError, match="customers: have more than"):
        log.records(["c1"], MAY * 2)


def append_shuffled(url: str, names: list[str]) -> int:
    """In a process of its own; how many were new."""
    random.shuffle(names)
    module.BUSY_SECONDS = 60
    log = EventLog(log_url(url))
    return sum(
        len(log.append([order(event_id=each) for each in names[start : start + 20]])) for start in range(0, 200, 20)
    )


def test_many_processes_make_the_log_and_append_at_once_each_event_once(url: str) -> None:
    names = [f"e{number}" for number in range(200)]

    with multiprocessing.get_context("spawn").Pool(4) as pool:
        new = pool.starmap(append_shuffled, [(url, names)] * 4)

    assert sum(new) == 200
    (orders,) = EventLog(log_url(url)).counts()
    assert orders.rows == 200


TELL = """
import sys
from demand.events.log import EventLog, log_url
from demand.events.model import Event
log = EventLog(log_url(sys.argv[1]))
for number in range(1_000_000):
    log.append([Event(f"{number}-{place}", "c1", "order", number, {"items": [{"item_id": "a"}]}) for place in range(7)])
    print(number, flush=True)
"""


def test_what_was_acknowledged_is_in_the_log_of_a_process_that_was_killed(url: str) -> None:
    telling = subprocess.Popen([sys.executable, "-c", TELL, url], stdout=subprocess.PIPE, text=True)
    assert telling.stdout is not None
    acknowledged = [int(telling.stdout.readline()) for _ in range(50)]
    time.sleep(random.random() / 10)
    telling.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in telling.stdout if line.endswith("\n")]
    telling.wait()

    log = EventLog(log_url(url))
    found = [row["event_id"] for rows in log.events("order") for row in rows]
    assert {f"{number}-{place}" for number in acknowledged for place in range(7)} <= set(found)
    assert len(found) == len(set(found))
    assert len(found) % 7 == 0  # all or none
    assert len(found) // 7 <= len(acknowledged) + 1


def test_a_log_that_is_busy_is_told_and_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    log = EventLog(log_url(str(tmp_path / "events.db")))
    log.append([order(event_id="1")])
    with sqlite3.connect(tmp_path / "events.db", isolation_level=None) as other:
        other.execute("begin immediate")
        with pytest.raises(LogError, match="cannot be used now: database is locked"):
            log.append([order(event_id="2")])
        assert len(record(log)["purchase_history"]) == 1
        other.execute("rollback")
    assert log.append([order(event_id="2")]) == {"2"}


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small disk, which only root may")
def test_a_full_disk_is_told_and_takes_nothing_and_what_was_there_stays(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(tmp_path)], check=True)
    try:
        log = EventLog(log_url(str(tmp_path / "events.db")))
        taken = []

        def fill() -> None:
            for number in range(1_000):
                log.append([order(ts=number, event_id=f"{number}-{place}", item_id="x" * 500) for place in range(10)])
                taken.append(number)

        with pytest.raises(LogFullError, match="no room"):
            fill()
        with pytest.raises(LogFullError):
            log.append([order(event_id="one more", item_id="x" * 100_000)])
        assert len(taken) > 5
        assert len(record(log)["purchase_history"]) == len(taken) * 10
        assert len(record(EventLog(log.url))["purchase_history"]) == len(taken) * 10
        log._engine.dispose()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    log = EventLog(log_url(str(tmp_path / "new" / "events.db")))
    log.append([order()])

    files = list((tmp_path / "new").iterdir())
    assert {file.name for file in files} == {"events.db", "events.db-wal", "events.db-shm"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_commit_is_written_through_to_the_disk(tmp_path: Path) -> None:
    log = EventLog(log_url(str(tmp_path / "events.db")))
    with log._connection() as connection:
        settings = [connection.exec_driver_sql(f"pragma {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]  # FULL


@pytest.mark.drill
def test_a_server_that_goes_away_is_told_without_its_password_and_has_all_when_it_is_back(server: PostgreSQL) -> None:
    log = EventLog(log_url(server.database()))
    log.append([order(event_id="1")])
    server.go()
    begin = time.monotonic()
    for ask in (lambda: log.append([order(event_id="2")]), lambda: log.records(["c1"], MAY), log.counts, log.size):
        with pytest.raises(LogError, match="cannot be used now") as told:
            ask()
        assert server.password not in str(told.value) + repr(log.url) + str(log.url)
    assert time.monotonic() - begin < 30
    server.come()
    assert log.append([order(event_id="1"), order(event_id="2")]) == {"2"}
    with log._connection() as connection:
        assert connection.exec_driver_sql("show synchronous_commit").scalar() == "on"


def test_what_is_no_log_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("dear diary " * 1_000)
    with pytest.raises(LogError, match="file is not a database"):
        EventLog(log_url(str(tmp_path / "diary"))).append([order()])
    assert (tmp_path / "diary").read_text().startswith("dear diary")
    with pytest.raises(LogError, match="no file"):
        EventLog(log_url(str(tmp_path / "none")), make=False).counts()
    assert not (tmp_path / "none").exists()
    with pytest.raises(LogError, match="cannot be used now"):
        EventLog(log_url("postgresql://u:secret@127.0.0.1:9/none")).counts()


@pytest.mark.parametrize("text", ["", "mysql://h/n", "sqlite://", "://", "http://h:none/", "sqlite://host/file"])
def test_what_is_no_place_for_a_log_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="postgresql://USER@HOST/NAME or sqlite:///FILE"):
        log_url(text)
