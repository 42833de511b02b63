"""Ray Serve over real HTTP: right answers to good requests, problem documents to bad ones."""

import asyncio
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from demand.catalogue import Catalogue
from demand.customer import Customer
from demand.dataset import Dataset
from demand.errors import SettingsError
from demand.moments import iso
from demand.questions import Question
from modeling.predictor import Predictor
from ray_app.cluster import free_port
from serving.application import Endpoint, Served, running
from serving.client import SECONDS
from serving.keys import KeyFile, Keys
from serving.schemas import CustomerRecord
from tests.serving.conftest import AS_OF, champion, early_in_a_minute, order, request

pytestmark = pytest.mark.usefixtures("ray_cluster")


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    return document


@pytest.mark.parametrize("days", [None, 28])
def test_http_answers_with_the_probabilities_that_evaluation_computes(
    client: httpx.Client, model_folder: Path, shop: Dataset, days: int | None
) -> None:
    predictor = Predictor.load(model_folder)
    customers = list(shop.customers(before=AS_OF))[:6]
    chances = predictor.chances([Question(customer, AS_OF, days or 0) for customer in customers])

    for row, customer in enumerate(customers):
        body = request(CustomerRecord.of(customer).model_dump(mode="json"), horizon_days=days, top_k=30)
        answer = client.post("/v1/predict", json=body).raise_for_status().json()
        assert len(answer["demands"]) == 30
        for demand in answer["demands"]:
            expected = chances[row, predictor.catalogue.index[demand["item_id"]]]
            assert demand["probability"] == pytest.approx(expected, abs=1e-5)
        probabilities = [demand["probability"] for demand in answer["demands"]]
        assert probabilities == sorted(probabilities, reverse=True)


def test_an_answer_says_which_model_gave_it_and_what_was_asked(client: httpx.Client) -> None:
    answer = client.post("/v1/predict", json=request(order(), horizon_days=7), headers={"X-Request-ID": "abc-1"})

    content = answer.raise_for_status().json()
    assert content["model"] == {"name": "demand", "version": 3, "prompt_format": "profile"}
    assert (content["as_of"], content["horizon_days"]) == ("2024-06-01T00:00:00Z", 7)
    assert set(content["demands"][0]) == {"item_id", "name", "probability", "expected_quantity", "expected_amount"}
    assert answer.headers["x-request-id"] == "abc-1"
    assert client.get("/healthz").headers["x-request-id"]


def test_demands_come_with_reasons_where_these_are_asked_for(client: httpx.Client, shop: Dataset) -> None:
    customer = next(iter(shop.customers(before=AS_OF)))
    body = request(CustomerRecord.of(customer).model_dump(mode="json"), horizon_days=28)
    plain = client.post("/v1/predict", json=body).raise_for_status().json()

    answer = client.post("/v1/predict", json={**body, "explain": True}).raise_for_status().json()
    said_no = client.post("/v1/predict", json={**body, "explain": False}).raise_for_status()
    (batched,) = client.post("/v1/predict/batch", json={"requests": [{**body, "explain": True}]}).json()["responses"]
    few = problem(client.post("/v1/predict", json={**body, "explain": True, "top_k": 21}), 422)

    assert said_no.json() == plain
    assert "reasons" not in said_no.text
    assert [each["item_id"] for each in answer["demands"]] == [each["item_id"] for each in plain["demands"]]
    for demand, other, again in zip(answer["demands"], plain["demands"], batched["demands"], strict=True):
        assert demand["probability"] == pytest.approx(other["probability"], abs=1e-6)
        assert again["reasons"] == demand["reasons"]
        reasons, item = demand["reasons"], demand["item_id"]
        moments = [order.ts for order in customer.orders if item in order.items]
        assert reasons["times"] == len(moments)
        assert reasons["sentence"].startswith(f"bought {len(moments)} times, last ")
        assert len(reasons["events"]) == 3
        with_item = {event["ts"] for event in reasons["events"] if event["item_id"] == item}
        assert with_item
        assert with_item <= set(map(iso, moments))
    assert few["detail"] == "explain: no more than 20 demands are explained: ask for a smaller top_k"


def test_unknown_items_are_answered_and_listed(client: httpx.Client) -> None:
    content = client.post("/v1/predict", json=request(order(item_id="moon dust"))).raise_for_status().json()

    assert content["unknown_items"] == ["moon dust"]
    assert len(content["demands"]) == 5


def test_an_empty_history_is_answered_from_profile_and_global_demand(client: httpx.Client, model_folder: Path) -> None:
    attributes = {"age": "35-44"}
    predictor = Predictor.load(model_folder)
    (expected,) = predictor.answer([Question(Customer("", attributes=attributes), AS_OF)], 5)

    content = client.post("/v1/predict", json=request({"demographic_info": attributes})).raise_for_status().json()

    assert [demand["item_id"] for demand in content["demands"]] == [
        predictor.catalogue.item_ids[demand.item] for demand in expected
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (request(order(ts="2024-07-01T00:00:00Z")), "customer.purchase_history.0.ts"),
        (request(order(quantity=-1)), "customer.purchase_history.0.items.0.quantity"),
        (request(order(quantity="many")), "customer.purchase_history.0.items.0.quantity"),
        (request(order(ts="yesterday")), "customer.purchase_history.0.ts"),
        (request({"purchase_history": "none"}), "customer.purchase_history"),
        (request({"purchases": []}), "customer.purchases"),
        (request(top_k=0), "top_k"),
        (request(horizon_days=1000), "horizon_days"),
        ({"as_of": iso(AS_OF)}, "customer"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    document = problem(client.post("/v1/predict", json=body), 422)

    assert document["errors"][0]["field"] == field
    assert field in document["detail"]


def test_malformed_json_a_huge_body_and_an_unknown_path_are_problems(client: httpx.Client) -> None:
    problem(client.post("/v1/predict", content='{"customer": '), 400)
    problem(client.post("/v1/predict", content=b"x" * 10_000_000), 413)
    problem(client.post("/v1/predict", content=(b"x" * 1_000_000 for _ in range(10))), 413)
    problem(client.get("/v1/nothing"), 404)
    problem(client.get("/v1/predict"), 405)
    assert client.post("/v1/predict", json=request()).status_code == 200


def test_a_problem_repeats_nothing_of_the_request(client: httpx.Client) -> None:
    answer = client.post("/v1/predict", json=request(order(quantity="4111-1111-1111-1111")))

    problem(answer, 422)
    assert "4111" not in answer.text


def test_each_request_of_a_batch_has_its_own_answer_or_error(client: httpx.Client) -> None:
    requests = [request(order()), request(order(quantity=-1)), {"customer": 7}, request()]

    responses = client.post("/v1/predict/batch", json={"requests": requests}).raise_for_status().json()["responses"]

    alone = client.post("/v1/predict", json=requests[0]).json()
    assert json.dumps(responses[0]["unknown_items"]) == json.dumps(alone["unknown_items"])
    assert responses[0]["demands"][0]["probability"] == pytest.approx(alone["demands"][0]["probability"], abs=1e-6)
    assert [response.get("error", {}).get("status") for response in responses] == [None, 422, 422, None]


def test_a_hundred_and_fifty_clients_at_once_are_all_answered(client: httpx.Client, shop: Dataset) -> None:
    customers = list(shop.customers(before=AS_OF))
    bodies = [request(CustomerRecord.of(each).model_dump(mode="json")) for each in customers]

    async def ask_all() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=client.base_url, headers=client.headers, timeout=SECONDS, limits=limits
        ) as clients:
            asked = (clients.post("/v1/predict", json=bodies[each % len(bodies)]) for each in range(150))
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert set(asyncio.run(ask_all())) == {200}


def test_without_a_good_key_nothing_is_answered_and_too_often_comes_with_when_to_ask_again(
    client: httpx.Client, keys: KeyFile
) -> None:
    strangers = httpx.Client(base_url=client.base_url, timeout=SECONDS)
    _, rare = keys.create("rare", per_minute=1)
    early_in_a_minute()

    for headers in ({}, {"Authorization": f"Bearer {rare}x"}):
        answer = strangers.post("/v1/predict", content=b"x" * 10_000_000, headers=headers)
        assert problem(answer, 401)["title"] == "Unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert strangers.get("/healthz").status_code == 200
    with_key = {"Authorization": f"Bearer {rare}"}
    assert strangers.get("/v1/model", headers=with_key).status_code == 200
    refused = strangers.get("/v1/model", headers=with_key)
    problem(refused, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_beyond_this_machine_nobody_is_served_without_keys_unless_told_so(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for none in (None, Keys(KeyFile(tmp_path / "none.sqlite"))):
        served = Served(champion(model_folder, 3), none, host="0.0.0.0")  # noqa: S104
        with pytest.raises(SettingsError, match=r"on 0\.0\.0\.0 anybody could ask.*--without-keys"), running(served):
            pass
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    with pytest.raises(SettingsError, match="HA_PROXY anybody could ask"), running(Served(champion(model_folder, 3))):
        pass


def test_a_second_endpoint_leaves_the_first_alone(endpoint: Endpoint, client: httpx.Client, model_folder: Path) -> None:
    served = Served(champion(model_folder, 9), port=free_port())

    with pytest.raises(SettingsError, match="serves demandcast already"), running(served):
        pass

    assert client.get("/v1/model").json()["version"] == endpoint.models.champion.version


def test_a_certificate_that_cannot_be_used_is_refused(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("hello")
    for certificate, key, why in (
        (tmp_path / "text.pem", None, "both a certificate"),
        (tmp_path / "text.pem", tmp_path / "text.pem", "text.pem cannot be used"),
        (tmp_path / "no.pem", tmp_path / "text.pem", "no.pem .* cannot be used: .*No such file"),
    ):
        served = Served(champion(model_folder), certificate=certificate, private_key=key)
        with pytest.raises(SettingsError, match=why), running(served):
            pass


def test_nothing_of_a_request_is_in_any_log(client: httpx.Client, admin: httpx.Client) -> None:
    marks = [f"mark-{kind}-{os.getpid()}" for kind in ("customer", "item", "text", "wrong", "key")]
    customer, item, text, wrong, key = marks
    good = request({**order(item_id=item), "customer_id": customer, "demographic_info": {"age": text}})
    client.post("/v1/predict", json=good, headers={"X-Request-ID": "asked-1"}).raise_for_status()
    problem(client.post("/v1/predict", json=request(order(ts=wrong))), 422)
    problem(client.post("/v1/predict", content=f'{{"{wrong}'), 400)
    problem(client.post("/v1/predict", headers={"Authorization": f"Bearer dc_{key}_x"}), 401)
    problem(client.post("/v1/predict", json=request() | {"customer": customer}), 422)
    problem(admin.post("/v1/customers/record", json={"customer_id": customer}), 404)
    time.sleep(1)  # until what is logged is written

    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    written = [log.read_text(errors="replace") for log in logs.rglob("*") if log.is_file()]
    lines = [line for log in (logs / "serve").glob("*.log") for line in log.read_text().splitlines()]
    told = [json.loads(line) for line in lines if "asked-1" in line]
    assert {each["component_name"] for each in told} == {"proxy", "replica"}
    assert {(each["request_id"], each["route"]) for each in told} == {("asked-1", "/v1/predict")}
    assert not [mark for mark in marks for each in written if mark in each]


def test_every_answer_tells_browsers_to_keep_nothing_and_guess_nothing(client: httpx.Client) -> None:
    for answer in (client.get("/healthz"), client.post("/v1/predict", json=request()), client.get("/nothing")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_other_routes_answer(client: httpx.Client, catalogue: Catalogue) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/v1/model").json()["version"] == 3
    assert [item["item_id"] for item in client.get("/v1/items").json()["items"]] == catalogue.item_ids
    page = client.get("/docs")
    assert page.status_code == 200
    for file in re.findall(r'(?:href|src)="(docs/[\w.-]+)"', page.text):
        assert client.get(f"/{file}").status_code == 200, file
    assert not re.search(r"https?://", page.text)
    assert client.get("/redoc").status_code == 404
    refused = client.get("/v1/predict")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_the_openapi_document_describes_requests_down_to_their_lines(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()

    body = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schemas = document["components"]["schemas"]
    assert body == {"$ref": "#/components/schemas/PredictRequest"}
    record, by_id = schemas["PredictRequest"]["properties"]["customer"]["anyOf"]
    assert (record, by_id["type"]) == ({"$ref": "#/components/schemas/CustomerRecord"}, "string")
    assert schemas["Line"]["properties"]["quantity"]["exclusiveMinimum"] == 0
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert named <= set(schemas)
