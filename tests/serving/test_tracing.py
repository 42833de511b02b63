"""Traces, from the ingress to the forward pass."""

import time

import httpx
import pytest

from demand.errors import SettingsError
from serving.tracing import ENDPOINTS, SAMPLED, tracing
from tests.serving.collector import Collector
from tests.serving.conftest import order, request

SOON_SECONDS = 120
CALLER, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CHAIN = [
    "proxy_http_request Ingress POST /v1/predict",
    "replica_handle_request Ingress __call__",
    "POST /v1/predict",
    "route_to_replica ModelReplica answer",
    "replica_handle_request ModelReplica answer",
    "forward_pass",
]
"""Spans of a request, in the order in which they begin; some more lie between."""


def test_a_request_is_traced_from_the_proxy_to_the_forward_pass_and_nothing_of_it_is_told(
    client: httpx.Client, collector: Collector
) -> None:
    somebody = {**order(), "customer_id": "traced-customer"}
    headers = {"X-Request-ID": "traced-1", "traceparent": f"00-{CALLER}-{SPAN}-01"}
    client.post("/v1/predict", json=request(somebody), headers=headers).raise_for_status()

    end = time.monotonic() + SOON_SECONDS
    while set(CHAIN) - {each.name for each in collector.trace_of("traced-1")}:
        assert time.monotonic() < end
        time.sleep(0.2)
    spans = collector.trace_of("traced-1")
    assert [span.name for span in spans if span.name in CHAIN] == CHAIN
    assert {span.trace_id.hex() for span in spans} == {CALLER}  # it goes on in the caller's trace
    assert spans[0].parent_span_id.hex() == SPAN
    assert not [body for body in collector.bodies if b"traced-customer" in body or b"item a0" in body]


@pytest.mark.parametrize("wrong", ["many", "2", "-0.5"])
def test_a_share_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv(ENDPOINTS[0], "http://127.0.0.1:4318")
    monkeypatch.setenv(SAMPLED, wrong)

    with pytest.raises(SettingsError, match=f"{SAMPLED}={wrong} is no share"):
        tracing()


def test_without_a_place_for_them_there_are_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)

    assert not tracing().enabled
