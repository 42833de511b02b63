"""Requests that nobody means well with, or that a broken client sends: each by a name, as bytes."""

import json
from collections.abc import Iterator
from typing import Any

from tests.serving.conftest import order, request

DEEP = 50_000
STRINGS = ("customer.customer_id", "customer.purchase_history.0.items.0.item_id", "customer.reviews.0.text")
NUMBERS = ("customer.purchase_history.0.items.0.quantity", "customer.purchase_history.0.items.0.amount")
INTEGERS = ("top_k", "horizon_days", "customer.reviews.0.rating")
MOMENTS = ("as_of", "customer.purchase_history.0.ts", "customer.browsing_history.0.ts", "customer.reviews.0.ts")
LISTS = ("customer.purchase_history", "customer.browsing_history", "customer.reviews")
OBJECTS = ("customer", "customer.demographic_info", "customer.purchase_history.0", "customer.reviews.0")


def whole() -> dict[str, Any]:
    """A good request that has every part."""
    day = "2024-05-01T00:00:00Z"
    customer = order()
    customer["customer_id"] = "c1"
    customer["browsing_history"] = [{"ts": day, "action": "view", "item_id": "item a0"}]
    customer["reviews"] = [{"ts": day, "item_id": "item a0", "rating": 5, "text": "good"}]
    customer["demographic_info"] = {"age": "35-44"}
    return request(customer, horizon_days=7)


def with_raw(path: str, raw: str) -> bytes:
    """The good request with what stands at `path` written otherwise, be it JSON or not."""
    body = whole()
    at: Any = body
    *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in way:
        at = at[step]
    at[last] = "@@@"
    return json.dumps(body).replace('"@@@"', raw).encode()


def wrong_values() -> Iterator[tuple[str, bytes]]:
    """Every kind of field with every kind of wrong value."""
    wrong = {
        STRINGS: ("null", "7", "true", "[]", "{}", '"' + "x" * 20_000 + '"'),
        NUMBERS: ("NaN", "-NaN", "Infinity", "-Infinity", "1e400", "-1", "1e300", "9" * 5_000, "null", '"lots"', "[1]"),
        INTEGERS: ("NaN", "0", "-1", "1.5", "1e30", "9" * 5_000, "1e400", '"x"', "[]", "{}"),
        MOMENTS: ('"tomorrow"', '"2024-13-01"', '"9999-12-31T23:59:59Z"', "NaN", "1e300", "[]", "{}", '""', "true"),
        LISTS: ("null", "{}", '"many"', "7", "[null]", "[[]]", "[7]", '["x"]', json.dumps([{}])),
        OBJECTS: ("null", "[]", '"x"', "7", "true"),
    }
    for paths, values in wrong.items():
        for path in paths:
            for value in values:
                if (path, value[:2]) not in {("as_of", '"9'), ("customer.customer_id", '""')}:
                    yield f"{path} = {value[:30]}", with_raw(path, value)


def too_much() -> Iterator[tuple[str, bytes]]:
    """More of everything than a field may hold."""
    day = "2024-05-01T00:00:00Z"
    zeros = {"ts": day, "items": [0] * 2_000}
    yield "a million lines that are none", json.dumps(request({"purchase_history": [zeros] * 500})).encode()
    yield "ten thousand orders that are none", json.dumps(request({"purchase_history": [0] * 10_000})).encode()
    line = {"item_id": "item a0"}
    one = {"ts": "2024-05-01T00:00:00Z", "items": [line]}
    look = {"ts": "2024-05-01T00:00:00Z", "action": "view"}
    yield "too many lines", json.dumps(request({"purchase_history": [{**one, "items": [line] * 2_001}]})).encode()
    yield "too many orders", json.dumps(request({"purchase_history": [one] * 10_001})).encode()
    yield "too many looks", json.dumps(request({"browsing_history": [look] * 10_001})).encode()
    yield "too many attributes", json.dumps(request({"demographic_info": {str(n): "" for n in range(101)}})).encode()
    yield "a long attribute", json.dumps(request({"demographic_info": {"age": "x" * 257}})).encode()
    yield "a long attribute's name", json.dumps(request({"demographic_info": {"x" * 257: ""}})).encode()
    yield "an order of nothing", json.dumps(request({"purchase_history": [{**one, "items": []}]})).encode()
    yield "an item of no name", json.dumps(request(order(item_id=""))).encode()
    yield "megabytes", b"[" + b"0," * 3_000_000 + b"0]"


def no_json() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no JSON object, or none that means anything here."""
    good = json.dumps(whole()).encode()
    for depth, (begin, end) in ((d, pair) for d in (300, DEEP) for pair in ((b"[", b"]"), (b'{"a":', b"}"))):
        yield f"{depth} x {begin.decode()}", begin * depth + b"1" + end * depth
        yield f"{depth} x {begin.decode()}, open", begin * depth
    yield "deep in a field", with_raw("customer.demographic_info", '{"a":' * DEEP + "1" + "}" * DEEP)
    yield from {
        "nothing": b"",
        "blank": b"   ",
        "null": b"null",
        "a number": b"7",
        "a text": b'"x"',
        "a list": b"[]",
        "an empty object": b"{}",
        "cut off": good[:-1],
        "cut in half": good[: len(good) // 2],
        "twice": good + good,
        "with something after": good + b" x",
        "a form": b"customer=%7B%7D&top_k=5",
        "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        "YAML": b"customer: !!python/object/apply:os.system [ls]",
        "a pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
        "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3\x02\x00\x00\x00",
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-32": good.decode().encode("utf-32"),
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "Latin-1": with_raw("customer.customer_id", '"caf"').replace(b"caf", b"caf\xe9"),
        "half a surrogate": with_raw("customer.customer_id", '"\\ud800"'),
        "a surrogate in UTF-8": with_raw("customer.customer_id", '"caf"').replace(b"caf", b"\xed\xa0\x80"),
        "an overlong slash": with_raw("customer.customer_id", '"caf"').replace(b"caf", b"\xc0\xaf"),
        "a zero byte": with_raw("customer.customer_id", '"caf"').replace(b"caf", b"c\x00f"),
        "a line feed in a text": with_raw("customer.customer_id", '"caf"').replace(b"caf", b"c\nf"),
        "only zero bytes": b"\x00" * 1_000,
        "single quotes": good.replace(b'"', b"'"),
        "comments": b"/* hello */" + good,
        "a comma too many": good[:-1] + b",}",
        "a hexadecimal number": with_raw("top_k", "0x10"),
        "a leading zero": with_raw("top_k", "010"),
        "a plus": with_raw("top_k", "+5"),
        "half a number": with_raw("top_k", "5."),
        "undefined": with_raw("top_k", "undefined"),
        "a bad escape": with_raw("customer.customer_id", '"\\x41"'),
        "an unknown field": good[:-1] + b', "admin": true}',
        "an unknown field inside": with_raw("customer.demographic_info", '{"age": "1"}, "admin": true'),
        "a prototype": good[:-1] + b', "__proto__": {"admin": true}}',
        "an order after the question": json.dumps(request(order(ts="2030-01-01T00:00:00Z"))).encode(),
        "after the last day": json.dumps(request(order(), as_of="9999-12-31T23:59:59-14:00")).encode(),
        "before the first day": json.dumps(request(as_of="0001-01-01T00:00:00+14:00")).encode(),
        "an order before the first day": json.dumps(request(order(ts="0001-01-01T00:00:00+14:00"))).encode(),
        "a rating of six": with_raw("customer.reviews.0.rating", "6"),
        "an object for a list of texts": with_raw("customer.demographic_info", '{"age": {"a": 1}}'),
    }.items()


def bodies() -> list[tuple[str, bytes]]:
    """All of them."""
    return [*wrong_values(), *too_much(), *no_json()]


def extremes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Strange, and within the contract: these are answered."""
    line = {"item_id": "item a0"}
    yield "the first day", request(order(ts="0001-01-01T00:00:00Z"))
    yield "the last day", request(order(), as_of="9999-12-31T23:59:59.999999Z")
    yield "as of the first day", request(as_of="0001-01-02T00:00:00Z")
    yield "a microsecond before", request(order(ts="2024-05-31T23:59:59.999999Z"))
    yield "the greatest numbers", request(order(quantity=1e9, amount=1e12))
    yield "the least numbers", request(order(quantity=5e-324, amount=5e-324))
    yield "a control character in an id", request(order(item_id="\x00\x1b[2J"))
    yield "right to left", request({"customer_id": "\u202egnp.exe", "demographic_info": {"\u202e": "\ufeff"}})
    yield "emoji", request(order(item_id="\U0001f468\u200d\U0001f469\u200d\U0001f467" * 10))
    yield "SQL", request({"customer_id": "'; drop table keys; --", "demographic_info": {"age": "' or 1=1"}})
    yield "more than the catalogue", request(order(), top_k=1_000)
    yield "the longest horizon", request(order(), horizon_days=91)
    yield (
        "a thousand orders of one moment",
        request({"purchase_history": [{"ts": "2024-05-01T00:00:00Z", "items": [line] * 20}] * 1_000}),
    )
    yield (
        "an order of two thousand lines",
        request(
            {
                "purchase_history": [
                    {"ts": "2024-05-01T00:00:00Z", "items": [{"item_id": f"x{n}"} for n in range(2_000)]}
                ]
            }
        ),
    )
    yield (
        "ten thousand looks",
        request(
            {"browsing_history": [{"ts": "2024-05-01T00:00:00Z", "action": "view", "item_id": "item a0"}] * 10_000}
        ),
    )
    yield (
        "a hundred long reviews",
        request(
            {"reviews": [{"ts": "2024-05-01T00:00:00Z", "item_id": "item a0", "rating": 1, "text": "w " * 5_000}] * 100}
        ),
    )
