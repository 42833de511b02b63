"""The clients against the endpoint, and against one that is busy."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from uuid import uuid4

import httpx
import pytest
from pydantic import ValidationError

from demand.uses.recommendation import Wish
from serving.application import Endpoint
from serving.client import AsyncClient, Client, PredictError
from serving.events import AppendedResponse
from serving.keys import KeyFile
from serving.problems import ProblemDocument
from serving.routes.audience import AudienceRequest, AudienceResponse
from serving.routes.forecast import ForecastRequest, ForecastResponse
from serving.routes.recommend import RecommendRequest, RecommendResponse
from serving.routes.risk import RiskRequest, RiskResponse
from serving.schemas import CustomerRecord, ModelInfo, PredictRequest, PredictResponse
from tests.serving.conftest import order, request


def arguments(client: httpx.Client) -> tuple[str, str]:
    return str(client.base_url), client.headers["authorization"].partition(" ")[2]


def test_both_clients_give_what_the_endpoint_answers(client: httpx.Client) -> None:
    body = request(order(), horizon_days=28)
    expected = PredictResponse.model_validate(client.post("/v1/predict", json=body).json())
    asked = {"as_of": body["as_of"], "horizon_days": 28, "top_k": 5, "explain": True}
    late = PredictRequest.model_validate(request(order(ts="2030-01-01T00:00:00Z")))
    requests = [PredictRequest.model_validate(body), late]

    with Client(*arguments(client)) as ours:
        waited = ours.predict(order(), **asked)
        batch = ours.predict_batch(requests)

    async def together() -> tuple[PredictResponse, list[PredictResponse | ProblemDocument]]:
        async with AsyncClient(*arguments(client)) as ours:
            return await ours.predict(order(), **asked), await ours.predict_batch(requests)

    for answer, (first, second) in ((waited, batch), asyncio.run(together())):
        for each in (answer, first):
            assert isinstance(each, PredictResponse)
            assert [demand.item_id for demand in each.demands] == [demand.item_id for demand in expected.demands]
            assert each.demands[0].probability == pytest.approx(expected.demands[0].probability, abs=1e-6)
        assert waited.demands[0].reasons is not None
        assert waited.demands[0].reasons.sentence.startswith("bought once, 31 days ago")
        assert isinstance(second, ProblemDocument)
        assert second.errors[0].field == "customer.purchase_history.0.ts"


def test_both_clients_ask_for_every_use(client: httpx.Client) -> None:
    customer = CustomerRecord.model_validate(order())
    as_of, stock = request()["as_of"], {"item a0", "item b1"}
    listed = RecommendRequest(
        customer=customer, as_of=as_of, wish=Wish(size=2, in_stock=frozenset({"item a0", "item b1"}))
    )
    group = AudienceRequest(customers=[customer] * 12, as_of=as_of, items=["item a0"], size=10)
    weeks = ForecastRequest(customers=[customer], as_of=as_of, by="all", weeks=True)
    risk = RiskRequest(customer=customer, as_of=as_of)

    with Client(*arguments(client)) as ours:
        waited = ours.recommend(listed), ours.audience(group), ours.forecast(weeks), ours.risk(risk)

    async def together() -> tuple[RecommendResponse, AudienceResponse, ForecastResponse, RiskResponse]:
        async with AsyncClient(*arguments(client)) as ours:
            lists = await ours.recommend(listed), await ours.audience(group)
            return *lists, await ours.forecast(weeks), await ours.risk(risk)

    for items, members, totals, found in (waited, asyncio.run(together())):
        assert {each.item_id for each in items.items} == stock
        assert len(members.members) == 10
        assert [each.week for each in totals.groups] == [1, 2, 3, 4]
        assert 0 < found.probability < 1


def test_what_is_refused_is_told_with_the_reason(client: httpx.Client) -> None:
    url, key = arguments(client)
    with Client(url, key + "x") as stranger, pytest.raises(PredictError, match="401 Unauthorized: this needs a key"):
        stranger.predict(order())
    with Client(url, key) as ours:
        with pytest.raises(ValidationError, match="quantity"):
            ours.predict(order(quantity=-1))
        with pytest.raises(PredictError, match="is not before as_of") as told:
            ours.predict(order(ts="2030-01-01T00:00:00Z"), as_of="2024-06-01")
        assert told.value.problem.status == 422
    with Client("http://127.0.0.1:9", retries=0) as nobody, pytest.raises(httpx.ConnectError):
        nobody.predict(order())


def test_what_came_of_an_answer_is_counted_for_its_model(
    client: httpx.Client, endpoint: Endpoint, keys: KeyFile
) -> None:
    url, key = arguments(client)
    _, admin = keys.create("operator", scope="admin")
    with Client(url, admin) as operator, Client(url, key) as ours:
        (before,) = operator.status().models
        answer = ours.predict({**order(), "customer_id": "who buys"}, as_of="2024-06-01", top_k=5)
        first, second = (answer.demands[place].item_id for place in (0, 1))
        (after,) = operator.status().models
        assert (after.answers - before.answers, after.failures - before.failures) == (1, 0)
        assert after.seconds > before.seconds

        assert ours.came(answer, bought=[first, "moon dust", first]) == 1
        assert ours.came(answer, bought=[first, second], shown=[second]) == 1
        assert asyncio.run(_nothing_bought(url, key, answer)) == 0
        (told,) = operator.status().models
        assert (told.shown - after.shown, told.bought - after.bought) == (5 + 1 + 5, 2)

        stranger = answer.model_copy(update={"model": ModelInfo(name="other", version=9, prompt_format="compact")})
        with pytest.raises(PredictError, match=r"422 .*model: answers nobody here"):
            ours.came(stranger, bought=[])


async def _nothing_bought(url: str, key: str, answer: PredictResponse) -> int:
    async with AsyncClient(url, key) as ours:
        return await ours.came(answer, bought=[])


def test_both_clients_tell_what_customers_did_and_ask_by_id(client: httpx.Client, admin: httpx.Client) -> None:
    url, key = arguments(admin)
    who = f"c {uuid4()}"
    event = {"event_id": uuid4().hex, "customer_id": who, "kind": "order", **order()["purchase_history"][0]}
    told = {"event_id": uuid4().hex, "customer_id": who, "ts": "2024-06-02", "shown": ["item a0"], "bought": []}
    expected = client.post("/v1/predict", json=request({**order(), "customer_id": who}, top_k=20)).json()

    async def again() -> tuple[AppendedResponse, AppendedResponse, PredictResponse]:
        async with AsyncClient(url, key) as ours:
            kept = await ours.events([event]), await ours.feedback([told])
            return *kept, await ours.predict(who, as_of=request()["as_of"])

    with Client(url, key) as ours:
        assert ours.events([event]) == AppendedResponse(accepted=1, known=0)
        answer = ours.predict(who, as_of=request()["as_of"])
        told["model"] = {"name": answer.model.name, "version": answer.model.version}
        assert ours.feedback([told]) == AppendedResponse(accepted=1, known=0)
        assert ours.risk(RiskRequest(customer=who, as_of=request()["as_of"])).horizon_days == 28
        with pytest.raises(ValidationError, match="kind"):
            ours.events([{**event, "kind": "theft"}])
        with pytest.raises(PredictError, match=r"409 Conflict: events\.0\.event_id: is known with another content"):
            ours.events([{**event, "customer_id": "c1"}])
    assert answer == PredictResponse.model_validate(expected)
    assert asyncio.run(again()) == (*[AppendedResponse(accepted=0, known=1)] * 2, answer)


@pytest.fixture
def busy() -> Iterator[tuple[str, list[int]]]:
    """An endpoint that answers 503, 429 and then something else than demandcast would; and what it answered."""
    statuses: list[int] = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            statuses.append([503, 429, 502][len(statuses)])
            self.send_response(statuses[-1])
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"busy")

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Busy)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", statuses
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_busy_endpoint_is_asked_again_and_a_broken_one_is_not(busy: tuple[str, list[int]]) -> None:
    url, statuses = busy

    with Client(url) as ours, pytest.raises(PredictError, match="502 Bad Gateway: no answer of demandcast"):
        ours.predict(order(), as_of="2024-06-01")

    assert statuses == [503, 429, 502]
