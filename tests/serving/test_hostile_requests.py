"""Strangers and broken clients: each is told what is wrong, in time, and nobody else notices."""

import socket
import time
from uuid import uuid4

import httpx
import pytest

from serving.gate import BODY_SECONDS
from tests.serving.conftest import order, request
from tests.serving.hostile import bodies, extremes, whole

DEADLINE_SECONDS = 10.0
BODIES = bodies()


@pytest.fixture(autouse=True)
def answers_right_after(client: httpx.Client) -> None:
    before, after = ({**order(), "customer_id": f"somebody {uuid4()}"} for _ in range(2))  # no answer from memory
    expected = client.post("/v1/predict", json=request(before)).raise_for_status().json()
    yield
    assert client.post("/v1/predict", json=request(after)).raise_for_status().json() == expected


def test_the_request_that_the_hostile_ones_are_made_from_is_good(client: httpx.Client) -> None:
    client.post("/v1/predict", json=whole()).raise_for_status()
    assert len(BODIES) >= 200


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict/batch"])
def test_every_hostile_body_is_refused_in_time(client: httpx.Client, path: str) -> None:
    wrong = []
    for name, body in BODIES:
        begin = time.monotonic()
        answer = client.post(path, content=body)
        document = answer.headers["content-type"] == "application/problem+json"
        if not 400 <= answer.status_code < 500 or not document or time.monotonic() - begin > DEADLINE_SECONDS:
            wrong.append((name, answer.status_code, answer.text[:200]))
    assert not wrong


def test_every_hostile_body_is_refused_within_a_batch(client: httpx.Client) -> None:
    for name, body in BODIES:
        answer = client.post("/v1/predict/batch", content=b'{"requests": [%b]}' % body)
        if answer.status_code == 200:
            (error,) = answer.json()["responses"]
            assert 400 <= error["error"]["status"] < 500, name
        else:
            assert 400 <= answer.status_code < 500, name


def test_what_is_strange_but_within_the_contract_is_answered_with_chances(client: httpx.Client) -> None:
    for name, body in extremes():
        answer = client.post("/v1/predict", json=body)
        assert answer.status_code == 200, (name, answer.text[:300])
        assert all(0 <= each["probability"] <= 1 for each in answer.json()["demands"]), name
        assert all(0 <= each["expected_amount"] < float("inf") for each in answer.json()["demands"]), name


def told(client: httpx.Client, sent: bytes, *, hang_up: bool = False) -> bytes:
    """What the endpoint says to these bytes on a connection of their own; nothing where it only hangs up too."""
    url = client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=BODY_SECONDS + DEADLINE_SECONDS) as connection:
        connection.sendall(sent)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        try:
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        except ConnectionError:
            return b""


def head(client: httpx.Client, *lines: str, first: str = "POST /v1/predict HTTP/1.1") -> bytes:
    key = f"Authorization: {client.headers['authorization']}"
    return "\r\n".join([first, f"Host: {client.base_url.host}", key, "Connection: close", *lines, "", ""]).encode()


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((CHUNKED,), b"zz\r\n{}\r\n0\r\n\r\n"),
        ((CHUNKED,), b"-5\r\n{}\r\n0\r\n\r\n"),
        ((CHUNKED,), b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ((CHUNKED, "Content-Length: 3"), b"2\r\n{}\r\n0\r\n\r\n"),
        (("Content-Length: -1",), b"{}"),
        (("Content-Length: many",), b"{}"),
        (("Content-Length: 2", "Content-Length: 3"), b"{}"),
        (("Content-Length: 99999999999999999999",), b"{}"),
        (("Content-Length: 9999999999",), b"{}"),
        (("Content-Length : 2",), b"{}"),
        (("X-A: " + "a" * 200_000,), b""),
        (("X-\x00: a", "Content-Length: 2"), b"{}"),
        (("no header at all",), b""),
    ],
)
def test_broken_framing_is_refused(client: httpx.Client, lines: tuple[str, ...], body: bytes) -> None:
    begin = time.monotonic()

    answer = told(client, head(client, *lines) + body)

    assert answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert time.monotonic() - begin < DEADLINE_SECONDS


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((CHUNKED,), b"2\r\n{}\r\n"),
        ((CHUNKED,), b"5\r\n{}"),
        (("Content-Length: 100",), b"{}"),
        (("Content-Le",), b""),
    ],
)
def test_a_client_that_hangs_up_gets_no_answer_of_the_server_s_own_fault(
    client: httpx.Client, lines: tuple[str, ...], body: bytes
) -> None:
    answer = told(client, head(client, *lines) + body, hang_up=True)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]


@pytest.mark.parametrize(
    "first",
    [
        "POST /v1/../../etc/passwd HTTP/1.1",
        "GET /v1/%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "GET /" + "a" * 5_000 + " HTTP/1.1",
        "BREW /v1/predict HTTP/1.1",
        "DELETE /v1/model HTTP/1.1",
        "TRACE / HTTP/1.1",
        "GET //evil.example/ HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
    ],
)
def test_strange_paths_and_methods_are_refused(client: httpx.Client, first: str) -> None:
    answer = told(client, head(client, "Content-Length: 0", first=first))

    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]


def test_a_body_that_never_comes_is_waited_for_so_long(client: httpx.Client) -> None:
    begin = time.monotonic()

    answer = told(client, head(client, "Content-Length: 100") + b"{")

    assert answer.startswith(b"HTTP/1.1 408"), answer[:200]
    assert BODY_SECONDS <= time.monotonic() - begin < BODY_SECONDS + DEADLINE_SECONDS
