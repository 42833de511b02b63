"""The endpoint against its own OpenAPI document, with requests that schemathesis makes up."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.client import SECONDS
from serving.door import OPEN
from serving.ingress import api

CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
MADE_UP = settings(
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
OF_MANY = ["/v1/predict/batch", "/v1/audience", "/v1/forecast", "/v1/new-product"]
schema = schemathesis.openapi.from_dict(api.openapi())


@pytest.fixture(scope="module")
def session(admin: httpx.Client) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = admin.headers["authorization"]
        yield session


def ask(case: schemathesis.Case, client: httpx.Client, session: requests.Session) -> None:
    case.call_and_validate(base_url=str(client.base_url), session=session, checks=CHECKS, timeout=SECONDS)


@schema.include(method="POST").exclude(path=OF_MANY).parametrize()
@settings(MADE_UP, max_examples=40)
def test_any_body_is_answered_as_the_document_says(
    case: schemathesis.Case, client: httpx.Client, session: requests.Session
) -> None:
    ask(case, client, session)


@pytest.mark.drill
@schema.include(method="POST").exclude(path=OF_MANY).parametrize()
@settings(MADE_UP, max_examples=500)  # of each route, 4,000 in all
def test_any_of_thousands_of_bodies_is_answered_as_the_document_says(
    case: schemathesis.Case, client: httpx.Client, session: requests.Session
) -> None:
    ask(case, client, session)


@schema.include(path=OF_MANY).parametrize()
@settings(MADE_UP, max_examples=10)  # which take long to make up
def test_any_body_of_many_customers_is_answered_as_the_document_says(
    case: schemathesis.Case, client: httpx.Client, session: requests.Session
) -> None:
    ask(case, client, session)


@schema.exclude(method="POST").parametrize()
@settings(MADE_UP, max_examples=20)
def test_what_takes_no_body_is_answered_as_the_document_says(
    case: schemathesis.Case, client: httpx.Client, session: requests.Session
) -> None:
    ask(case, client, session)


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for path, methods in api.openapi()["paths"].items() for method in methods if path not in OPEN],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer dc_made_up"}, {"Authorization": "Basic dc_made_up"}])
def test_every_route_that_wants_a_key_wants_a_good_one(
    method: str, path: str, headers: dict[str, str], client: httpx.Client
) -> None:
    assert httpx.request(method, f"{client.base_url}{path}", headers=headers, timeout=SECONDS).status_code == 401


def test_the_published_document_is_the_endpoints(client: httpx.Client) -> None:
    published = json.loads(Path("docs/openapi.json").read_text())

    assert published == client.get("/openapi.json").json(), "make docs/openapi.json"
