"""Clients of the endpoint, one that waits and one for asyncio.

    with Client("http://127.0.0.1:8000", key="dc_…") as client:
        answer = client.predict({"purchase_history": history}, horizon_days=28)
        for demand in answer.demands:
            print(demand.name, demand.probability)

What is too busy (429, 503) or cannot be reached is asked again when it says: a prediction changes nothing, and events
and feedback that are told twice count once. An outcome (`came`) has no id, so that one may count twice whose connection
broke; feedback does not.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_retries import Retry, RetryTransport

from serving.events import AppendedResponse, EventRecord, EventsRequest, FeedbackRecord, FeedbackRequest
from serving.problems import ProblemDocument
from serving.routes.audience import AudienceRequest, AudienceResponse
from serving.routes.forecast import ForecastRequest, ForecastResponse
from serving.routes.launch import LaunchRequest, LaunchResponse
from serving.routes.recommend import RecommendRequest, RecommendResponse
from serving.routes.risk import RiskRequest, RiskResponse
from serving.schemas import (
    AnsweredBy,
    BatchRequest,
    CustomerRecord,
    Outcome,
    OutcomeResponse,
    PredictRequest,
    PredictResponse,
    Record,
    StatusResponse,
)

Customer = CustomerRecord | Mapping[str, Any] | str
"""A record, or the id of a customer of whom the endpoint was told events."""
SECONDS = 40.0
"""That one attempt may take: longer than an endpoint, which says so itself when it has no answer in time."""
RETRIES = 5
LONGEST_WAIT_SECONDS = 60.0
"""In all, between attempts."""


class PredictError(Exception):
    """The endpoint refused; `problem` says why."""

    def __init__(self, problem: ProblemDocument) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem


class Client:
    """Asks an endpoint, and waits for its answers. Use it in a `with` block, or close it."""

    def __init__(self, url: str, key: str | None = None, *, seconds: float = SECONDS, retries: int = RETRIES) -> None:
        """
        Args:
            url: where 'demandcast serve' answers.
            key: an API key, where the endpoint wants one.
            seconds: that one attempt may take.
            retries: attempts after the first.
        """
        self._http = httpx.Client(**_settings(url, key, seconds), transport=RetryTransport(retry=_retry(retries)))

    def predict(
        self,
        customer: Customer,
        *,
        as_of: datetime | str | None = None,
        horizon_days: int | None = None,
        top_k: int = 20,
        explain: bool = False,
    ) -> PredictResponse:
        """The likeliest demands of a customer: of the next order, or within `horizon_days`.

        Args:
            explain: tells why as well, of a `top_k` of at most 20.

        Raises:
            PredictError: the endpoint refused.
            httpx.HTTPError: it cannot be reached.
            pydantic.ValidationError: the record breaks the contract.
        """
        return _answer(self._http.post("/v1/predict", content=_body(customer, as_of, horizon_days, top_k, explain)))

    def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictResponse | ProblemDocument]:
        """Each request's answer, or why it has none; as `predict` raises where there is no answer at all."""
        return _answers(self._http.post("/v1/predict/batch", content=_bodies(requests)))

    def recommend(self, request: RecommendRequest) -> RecommendResponse:
        """A list for a customer, within what the shop allows; raises as `predict`."""
        response = self._http.post("/v1/recommend", content=_said(request))
        return RecommendResponse.model_validate_json(_good(response).content)

    def audience(self, request: AudienceRequest) -> AudienceResponse:
        """Who of some customers is most likely to want something; raises as `predict`."""
        response = self._http.post("/v1/audience", content=_said(request))
        return AudienceResponse.model_validate_json(_good(response).content)

    def forecast(self, request: ForecastRequest) -> ForecastResponse:
        """What some customers together will buy; raises as `predict`."""
        response = self._http.post("/v1/forecast", content=_said(request))
        return ForecastResponse.model_validate_json(_good(response).content)

    def new_product(self, request: LaunchRequest) -> LaunchResponse:
        """What some customers will buy of something that is not sold yet; raises as `predict`."""
        response = self._http.post("/v1/new-product", content=_said(request))
        return LaunchResponse.model_validate_json(_good(response).content)

    def risk(self, request: RiskRequest) -> RiskResponse:
        """Whether a customer comes back, and what has changed; raises as `predict`."""
        response = self._http.post("/v1/customers/risk", content=_said(request))
        return RiskResponse.model_validate_json(_good(response).content)

    def came(self, answer: PredictResponse, bought: Sequence[str], shown: Sequence[str] | None = None) -> int:
        """Tells what came of an answer, so that models can be compared: how many of the items shown were bought.

        Args:
            bought: ids of what the customer bought afterwards.
            shown: ids of what the customer saw of the answer; by default all of it.
        """
        response = self._http.post("/v1/outcomes", content=_outcome(answer, bought, shown))
        return OutcomeResponse.model_validate_json(_good(response).content).bought

    def events(self, events: Sequence[EventRecord | Mapping[str, Any]]) -> AppendedResponse:
        """Tells what customers did, up to 1,000 events at once: when this returns they are on disk.

        Raises as `predict`, and then none was taken, or it is not known; to tell the same again is safe.
        """
        response = self._http.post("/v1/events", content=_said(EventsRequest.model_validate({"events": events})))
        return AppendedResponse.model_validate_json(_good(response).content)

    def feedback(self, feedback: Sequence[FeedbackRecord | Mapping[str, Any]]) -> AppendedResponse:
        """Tells what came of answers, to be kept; raises as `events`."""
        response = self._http.post(
            "/v1/feedback", content=_said(FeedbackRequest.model_validate({"feedback": feedback}))
        )
        return AppendedResponse.model_validate_json(_good(response).content)

    def status(self) -> StatusResponse:
        """How the endpoint does, for keys of the scope admin; raises as `predict`."""
        return StatusResponse.model_validate_json(_good(self._http.get("/v1/status")).content)

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """As Client, for asyncio."""

    def __init__(self, url: str, key: str | None = None, *, seconds: float = SECONDS, retries: int = RETRIES) -> None:
        """As Client."""
        self._http = httpx.AsyncClient(**_settings(url, key, seconds), transport=RetryTransport(retry=_retry(retries)))

    async def predict(
        self,
        customer: Customer,
        *,
        as_of: datetime | str | None = None,
        horizon_days: int | None = None,
        top_k: int = 20,
        explain: bool = False,
    ) -> PredictResponse:
        """As Client.predict."""
        content = _body(customer, as_of, horizon_days, top_k, explain)
        return _answer(await self._http.post("/v1/predict", content=content))

    async def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictResponse | ProblemDocument]:
        """As Client.predict_batch."""
        return _answers(await self._http.post("/v1/predict/batch", content=_bodies(requests)))

    async def recommend(self, request: RecommendRequest) -> RecommendResponse:
        """As Client.recommend."""
        response = await self._http.post("/v1/recommend", content=_said(request))
        return RecommendResponse.model_validate_json(_good(response).content)

    async def audience(self, request: AudienceRequest) -> AudienceResponse:
        """As Client.audience."""
        response = await self._http.post("/v1/audience", content=_said(request))
        return AudienceResponse.model_validate_json(_good(response).content)

    async def forecast(self, request: ForecastRequest) -> ForecastResponse:
        """As Client.forecast."""
        response = await self._http.post("/v1/forecast", content=_said(request))
        return ForecastResponse.model_validate_json(_good(response).content)

    async def new_product(self, request: LaunchRequest) -> LaunchResponse:
        """As Client.new_product."""
        response = await self._http.post("/v1/new-product", content=_said(request))
        return LaunchResponse.model_validate_json(_good(response).content)

    async def risk(self, request: RiskRequest) -> RiskResponse:
        """As Client.risk."""
        response = await self._http.post("/v1/customers/risk", content=_said(request))
        return RiskResponse.model_validate_json(_good(response).content)

    async def came(self, answer: PredictResponse, bought: Sequence[str], shown: Sequence[str] | None = None) -> int:
        """As Client.came."""
        response = await self._http.post("/v1/outcomes", content=_outcome(answer, bought, shown))
        return OutcomeResponse.model_validate_json(_good(response).content).bought

    async def events(self, events: Sequence[EventRecord | Mapping[str, Any]]) -> AppendedResponse:
        """As Client.events."""
        said = _said(EventsRequest.model_validate({"events": events}))
        return AppendedResponse.model_validate_json(_good(await self._http.post("/v1/events", content=said)).content)

    async def feedback(self, feedback: Sequence[FeedbackRecord | Mapping[str, Any]]) -> AppendedResponse:
        """As Client.feedback."""
        said = _said(FeedbackRequest.model_validate({"feedback": feedback}))
        return AppendedResponse.model_validate_json(_good(await self._http.post("/v1/feedback", content=said)).content)

    async def status(self) -> StatusResponse:
        """As Client.status."""
        return StatusResponse.model_validate_json(_good(await self._http.get("/v1/status")).content)

    async def close(self) -> None:
        """Ends its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def _settings(url: str, key: str | None, seconds: float) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    return {"base_url": url, "headers": headers, "timeout": seconds}


def _retry(retries: int) -> Retry:
    return Retry(
        total=retries,
        allowed_methods=("GET", "POST"),
        status_forcelist=(429, 503),
        retry_on_exceptions=(httpx.NetworkError, httpx.RemoteProtocolError),
        backoff_factor=0.2,
        total_timeout=LONGEST_WAIT_SECONDS,
    )


def _body(customer: Customer, as_of: datetime | str | None, horizon_days: int | None, top_k: int, explain: bool) -> str:
    asked = {"customer": customer, "as_of": as_of, "horizon_days": horizon_days, "top_k": top_k, "explain": explain}
    return PredictRequest.model_validate(asked).model_dump_json(exclude_defaults=True)


def _said(request: Record) -> str:
    return request.model_dump_json(exclude_defaults=True)


def _bodies(requests: Sequence[PredictRequest]) -> str:
    bodies = [each.model_dump(mode="json", exclude_defaults=True) for each in requests]
    return BatchRequest(requests=bodies).model_dump_json()


def _outcome(answer: PredictResponse, bought: Sequence[str], shown: Sequence[str] | None) -> str:
    items = [each.item_id for each in answer.demands] if shown is None else list(shown)
    model = AnsweredBy.model_validate(answer.model.model_dump())
    return Outcome(model=model, shown=items, bought=list(bought)).model_dump_json()


def _answer(response: httpx.Response) -> PredictResponse:
    return PredictResponse.model_validate_json(_good(response).content)


def _answers(response: httpx.Response) -> list[PredictResponse | ProblemDocument]:
    return [
        ProblemDocument.model_validate(each["error"]) if "error" in each else PredictResponse.model_validate(each)
        for each in _good(response).json()["responses"]
    ]


def _good(response: httpx.Response) -> httpx.Response:
    if response.status_code == httpx.codes.OK:
        return response
    try:
        problem = ProblemDocument.model_validate_json(response.content)
    except ValueError:  # of a proxy between, say
        status = response.status_code
        problem = ProblemDocument(
            type="about:blank", title=response.reason_phrase, status=status, detail="no answer of demandcast"
        )
    raise PredictError(problem)
