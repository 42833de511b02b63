"""What an endpoint is told, and asking it about customers by their ids alone."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from demand.events.log import EventLog, log_url
from demand.moments import iso
from serving.clerk import Clerk, names_ids
from serving.problems import Problem
from serving.schemas import CustomerRecord
from tests.serving.conftest import AS_OF, order
from tests.serving.test_serving import problem

LINE = {"item_id": "item a0", "quantity": 2.0, "amount": 5.0}


def bought(customer_id: str, ts: str = "2024-05-01T00:00:00Z", **fields: Any) -> dict[str, Any]:
    event = {"event_id": uuid4().hex, "customer_id": customer_id, "kind": "order", "ts": ts, "items": [LINE]}
    return {**event, **fields}


@pytest.fixture
def clerk(tmp_path: Path) -> Clerk:
    return Clerk(log_url(str(tmp_path / "events.db")))


def told(clerk: Clerk, *events: dict[str, Any]) -> tuple[int, int]:
    answer = asyncio.run(clerk.take_events(json.dumps({"events": events}).encode()))
    return answer.accepted, answer.known


def looked_up(clerk: Clerk, **asked: Any) -> dict[str, Any]:
    return json.loads(asyncio.run(clerk.look_up(json.dumps(asked).encode())))


def test_every_kind_of_event_becomes_its_part_of_the_customers_record(clerk: Clerk) -> None:
    look = {"ts": "2024-05-02T00:00:00Z", "action": "view", "item_id": None, "text": "milk"}
    review = {"ts": "2024-05-03T00:00:00Z", "item_id": "item a0", "rating": 4, "text": "ok"}
    who = {"customer_id": "c1"}
    events = [
        {**who, "event_id": "3", "kind": "review", **review},
        {**who, "event_id": "4", "kind": "profile", "ts": "2024-05-01T00:00:00Z", "attributes": {"a": "1", "b": "2"}},
        {**who, "event_id": "5", "kind": "profile", "ts": "2024-05-04T00:00:00Z", "attributes": {"a": "3"}},
        {**who, "event_id": "2", "kind": "browsing", **look},
        bought("c1", event_id="1"),
    ]

    assert told(clerk, *events) == (5, 0)

    record = json.loads(asyncio.run(clerk.record("c1")))
    assert record == {
        "customer_id": "c1",
        "purchase_history": [{"ts": "2024-05-01T00:00:00Z", "items": [LINE]}],
        "browsing_history": [look],
        "reviews": [review],
        "demographic_info": {"a": "3"},
    }
    CustomerRecord.model_validate(record)


def test_ids_are_replaced_by_what_was_known_at_the_moment_asked_about(clerk: Clerk) -> None:
    told(clerk, bought("c1"), bought("c1", "2024-05-03T00:00:00Z"), bought("c2", "2024-05-02T00:00:00Z"))

    for as_of, orders in (("2024-05-03", 1), ("2024-05-03T00:00:00.000001Z", 2), (None, 2), (1714694400, 1)):
        asked = looked_up(clerk, customer="c1", as_of=as_of, top_k=3)
        assert len(asked["customer"]["purchase_history"]) == orders
        assert (asked["as_of"], asked["top_k"]) == (as_of, 3)
    many = looked_up(clerk, customers=[{"customer_id": "new"}, "c2", "c1"])["customers"]
    assert [each["customer_id"] for each in many] == ["new", "c2", "c1"]
    assert "purchase_history" not in many[0]


def test_a_customer_who_is_named_twice_is_refused_for_a_short_request_could_grow_without_bound(clerk: Clerk) -> None:
    told(clerk, bought("c1"), bought("c2"))

    with pytest.raises(Problem) as refused:
        looked_up(clerk, customers=["c1", {}, "c2", "c1", "c2"])

    assert refused.value.errors == [{"field": "customers.3", "reason": "is the same as customers.0"}]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"customer": "nobody"}, "customer"),
        ({"customer": "c1", "as_of": "2024-05-01"}, "customer"),
        ({"customer": "c1\0"}, "customer"),
        ({"customer": "x" * 10_000}, "customer"),
        ({"customers": ["c1", {}, "' or 1=1 --"]}, "customers.2"),
    ],
)
def test_an_unknown_id_is_named_by_its_path_and_not_repeated(clerk: Clerk, asked: dict[str, Any], field: str) -> None:
    told(clerk, bought("c1"))

    with pytest.raises(Problem, match="no event before as_of") as refused:
        looked_up(clerk, **asked)

    assert (refused.value.status, refused.value.errors[0]["field"]) == (422, field)
    assert refused.value.detail.startswith(f"{field}: has no event")


@pytest.mark.parametrize(
    "body",
    [
        b'{"customer": {"customer_id": "c1"}}',
        b'{"customers": [{"customer_id": "c1"}, {"demographic_info": {"a": "b"}, "reviews": []}]}',
        b'{"customer": {"demographic_info": {"x": "\\"customer\\": \\"c1\\""}}}',
        b'{"customer": {"demographic_info": {"customer": "c1"}}}',
        b'{"customer": "c1"',
        b'{"customer": "c1", "as_of": "never"}',
        b'{"customer": "c1", "top_k": ' + b"9" * 5_000 + b"}",
        b'["customer": "c1"]',
        b'"customer"',
        b'{"customers": ["' + b'","'.join([b"c1"] * 257) + b'"]}',
        b'{"customers": "c1"}',
        b'{"a":' * 50_000 + b'{"customer": "c1"' + b"}" * 50_000,
    ],
)
def test_what_names_nobody_or_cannot_be_read_is_left_as_it_is(clerk: Clerk, body: bytes) -> None:
    told(clerk, bought("c1"))

    assert asyncio.run(clerk.look_up(body)) == body


@pytest.mark.parametrize(
    "body", [b'{"customer" : "c"}', b'{"customers":\n[ "c", {}]}', b'{"customers": [{}, "c\\"", {}]}']
)
def test_every_id_is_seen(body: bytes) -> None:
    assert names_ids(body)


def test_a_request_with_a_known_id_and_another_content_is_refused_whole(clerk: Clerk) -> None:
    first, second, third = (bought("c1", event_id=each) for each in "123")
    assert told(clerk, first, first, second) == (2, 1)

    with pytest.raises(Problem) as refused:
        told(clerk, third, {**first, "customer_id": "c2"}, second, {**second, "items": [{**LINE, "quantity": 3}]})

    assert refused.value.status == 409
    assert [each["field"] for each in refused.value.errors] == ["events.1.event_id", "events.3.event_id"]
    assert told(clerk, third, first, second) == (1, 2)


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"event_id": ""}, "event_id"),
        ({"event_id": "a\0b"}, "event_id"),
        ({"customer_id": "x" * 257}, "customer_id"),
        ({"ts": "0001-01-01T00:00:00+14:00"}, "ts"),
        ({"items": []}, "items"),
        ({"items": [{**LINE, "quantity": -1}]}, "items.0.quantity"),
        ({"kind": "theft"}, ""),
        ({"colour": "red"}, "colour"),
    ],
)
def test_of_wrong_events_the_field_is_named_and_none_is_taken(clerk: Clerk, event: dict[str, Any], field: str) -> None:
    good = bought("c1")

    with pytest.raises(Problem) as refused:
        told(clerk, good, {**bought("c1"), **event})

    assert (refused.value.status, refused.value.errors[0]["field"]) == (422, f"events.1.{field}".strip("."))
    assert "theft" not in refused.value.detail
    assert told(clerk, good) == (1, 0)


def test_without_a_log_that_is_said() -> None:
    nobody = Clerk(None)

    for asked in (nobody.take_events(b"{}"), nobody.record("c1"), nobody.customer_ids("", 1)):
        with pytest.raises(Problem, match="keeps no log"):
            asyncio.run(asked)
    assert asyncio.run(nobody.look_up(b'{"customer": "c1"}')) == b'{"customer": "c1"}'  # a replica says it


# Over HTTP, with a model


def test_a_customer_can_be_asked_about_by_id_as_by_record_and_never_from_stale_answers(
    client: httpx.Client, admin: httpx.Client
) -> None:
    name = f"c {uuid4()}"
    asked: dict[str, Any] = {"as_of": iso(AS_OF), "top_k": 5}

    def by_id() -> dict[str, Any]:
        return client.post("/v1/predict", json={"customer": name, **asked}).raise_for_status().json()

    def by_record() -> dict[str, Any]:
        record = {"customer_id": name, "purchase_history": [{"ts": each, "items": [LINE]} for each in moments]}
        return client.post("/v1/predict", json={"customer": record, **asked}).raise_for_status().json()

    moments = ["2024-05-01T00:00:00Z"]
    assert admin.post("/v1/events", json={"events": [bought(name, moments[0])]}).json() == {"accepted": 1, "known": 0}
    first = by_id()
    assert first == by_record() == by_id()
    moments.append("2024-05-20T00:00:00Z")
    admin.post("/v1/events", json={"events": [bought(name, moments[1])]}).raise_for_status()
    assert by_id() == by_record() != first


def test_every_route_takes_ids(client: httpx.Client, admin: httpx.Client) -> None:
    names = [f"c{number} {uuid4()}" for number in range(12)]
    admin.post("/v1/events", json={"events": [bought(each) for each in names]}).raise_for_status()
    when = {"as_of": iso(AS_OF)}

    members = client.post("/v1/audience", json={"customers": names, "items": ["item a0"], "size": 12, **when}).json()
    assert {each["customer_id"] for each in members["members"]} == set(names)
    assert client.post("/v1/forecast", json={"customers": [*names, order()], **when}).json()["groups"]
    assert 0 < client.post("/v1/customers/risk", json={"customer": names[0], **when}).json()["probability"] < 1
    assert client.post("/v1/recommend", json={"customer": names[0], **when}).json()["items"]
    asked = [{"customer": names[0], **when}, {"customer": "nobody", **when}]
    known, unknown = client.post("/v1/predict/batch", json={"requests": asked}).json()["responses"]
    assert known["demands"]
    assert unknown["error"]["errors"][0]["field"] == "customer"
    assert problem(client.post("/v1/audience", json={"customers": ["nobody"], **when}), 422)["errors"][0]["field"] == (
        "customers.0"
    )


STRANGE = [
    "a/b",
    "a b",
    "ü",
    "?x=1",
    "#",
    "%2F",
    "\x01\x1b[2J",
    "';drop table events;--",
    "../..",
    "risk",
    "\u202e",
    "x" * 256,
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_customer_of_any_name_is_found_under_it(client: httpx.Client, admin: httpx.Client, name: str) -> None:
    admin.post("/v1/events", json={"events": [bought(name)]}).raise_for_status()

    record = record_of(admin, name).raise_for_status().json()

    assert record["customer_id"] == name
    assert record["purchase_history"][0]["items"] == [LINE]
    assert record_of(client, name).status_code == 403


def record_of(client: httpx.Client, customer_id: str) -> httpx.Response:
    return client.post("/v1/customers/record", content=json.dumps({"customer_id": customer_id}))


@pytest.mark.parametrize(
    ("name", "status"), [("", 422), ("\0", 422), ("x" * 3_000, 422), ("\ud800", 422), ("nobody", 404)]
)
def test_who_is_not_in_the_log_is_not_found(admin: httpx.Client, name: str, status: int) -> None:
    problem(record_of(admin, name), status)


def test_customers_are_listed_a_page_at_a_time(client: httpx.Client, admin: httpx.Client) -> None:
    mark = f"\U0010ffff {uuid4()}"
    names = [f"{mark} {number}" for number in range(5)]
    admin.post("/v1/events", json={"events": [bought(each) for each in reversed(names)] * 2}).raise_for_status()

    def page(after: str) -> list[str]:
        return admin.post("/v1/customers", json={"after": after, "limit": 2}).raise_for_status().json()["customers"]

    assert [page(mark), page(names[1]), page(names[3]), page(names[4])] == [names[:2], names[2:4], names[4:], []]
    assert len(admin.post("/v1/customers", json={}).json()["customers"]) <= 100
    for limit in (0, 1_001, "many"):
        assert problem(admin.post("/v1/customers", json={"limit": limit}), 422)["errors"][0]["field"] == "limit"
    problem(client.post("/v1/customers", json={}), 403)


def test_feedback_is_kept_and_counts_once_as_outcomes_do(client: httpx.Client, admin: httpx.Client) -> None:
    def counted() -> tuple[int, int]:
        (model,) = admin.get("/v1/status").json()["models"]
        return model["shown"], model["bought"]

    told = {"event_id": uuid4().hex, "customer_id": "c1", "ts": "2024-06-02", "shown": ["a", "b"], "bought": ["b", "c"]}
    told["model"] = {"name": "demand", "version": 3}
    old = {**told, "event_id": uuid4().hex, "model": {"name": "demand", "version": 1}}
    before = counted()

    assert client.post("/v1/feedback", json={"feedback": [told, old]}).json() == {"accepted": 2, "known": 0}
    assert client.post("/v1/feedback", json={"feedback": [told, old]}).json() == {"accepted": 0, "known": 2}

    after = counted()
    assert (after[0] - before[0], after[1] - before[1]) == (2, 1)
    again = problem(client.post("/v1/feedback", json={"feedback": [{**told, "bought": []}]}), 409)
    assert again["errors"][0]["field"] == "feedback.0.event_id"
    assert counted() == after


def test_while_another_process_writes_nothing_is_acknowledged(log: EventLog, admin: httpx.Client) -> None:
    import sqlite3

    name = f"c {uuid4()}"
    admin.post("/v1/events", json={"events": [bought("c1")]}).raise_for_status()
    with sqlite3.connect(log.url.database, isolation_level=None) as other:
        other.execute("begin immediate")
        answers = []
        posting = threading.Thread(
            target=lambda: answers.append(admin.post("/v1/events", json={"events": [bought(name)]}))
        )
        posting.start()
        assert record_of(admin, "c1").status_code == 200  # readers go on
        posting.join()
        other.execute("rollback")
    assert problem(answers[0], 503)["detail"].endswith("to send the same again is safe")
    assert "retry-after" in answers[0].headers
    problem(record_of(admin, name), 404)
