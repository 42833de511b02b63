"""The HTTP ingress: hands requests to the replicas, turns every error into a problem document."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from sqlalchemy.engine import URL
from starlette.exceptions import HTTPException

from demand.locations import Location
from serving.answers import Answers
from serving.attempts import Attempts
from serving.clerk import Clerk
from serving.console import router as console
from serving.document import Api
from serving.documentation import router as documentation
from serving.door import Door
from serving.events import AppendedResponse, CustomersRequest, CustomersResponse, RecordRequest
from serving.gate import Gate
from serving.keys import Keys
from serving.metrics import IngressMetrics
from serving.models import Models
from serving.problems import Answer, Problem, invalid
from serving.registered import Registered, RegisteredResponse
from serving.routes import ROUTES
from serving.schemas import BatchRequest, GroupRequest, Outcome, OutcomeResponse, StatusResponse
from serving.tally import Tallies

DEADLINE_SECONDS = 30.0
READY_SECONDS, STATUS_SECONDS = 2.0, 10.0
PATIENCE_SECONDS, PATIENCE_WITH_GROUPS, MOST_IMPATIENT = 5.0, 15.0, 16
"""After which a second replica is asked beside one that is silent, for so many requests at a time. A group of customers
can take one many seconds of work, which would be done twice."""
BATCH_AT_ONCE = 32
"""Requests of a batch that are looked up, sent and waited for: half of those that may wait for a replica to wake."""
api = Api(
    docs_url=None,  # FastAPI's pages come from elsewhere
    redoc_url=None,
    title="demandcast",
    description="What each customer will want next. Errors are problem documents (RFC 9457).",
    version="1",
)
api.add_middleware(Gate)
api.include_router(console)
api.include_router(documentation)


@api.exception_handler(Problem)
async def _problem(_: Request, problem: Problem) -> Response:
    return problem.answer.response()


@api.exception_handler(RequestValidationError)
async def _invalid(_: Request, error: RequestValidationError) -> Response:
    return invalid(error.errors()).answer.response()


@api.exception_handler(HTTPException)
async def _http(_: Request, error: HTTPException) -> Response:
    response = Problem(error.status_code, str(error.detail)).answer.response()
    response.headers.update(error.headers or {})
    return response


@api.exception_handler(Exception)
async def _unexpected(_: Request, error: Exception) -> Response:
    return Problem(500, "the request could not be answered").answer.response()


@serve.deployment(ray_actor_options={"num_cpus": 0}, max_ongoing_requests=1_000)
@serve.ingress(api)
class Ingress:
    """Every route under /v1, and the two health checks."""

    def __init__(
        self,
        replicas: DeploymentHandle[Any],
        keys: Keys | None = None,
        cache_megabytes: float = 0,
        sleeps: bool = False,
        events: URL | None = None,
        registry: Location | None = None,
        open_: bool = False,
    ) -> None:
        self.replicas = replicas
        self._sleeps = sleeps
        self._ongoing = 0
        self._answers = Answers(cache_megabytes)
        self._tallies = Tallies()
        self._registered = Registered(registry)
        self._attempts = Attempts(MOST_IMPATIENT, RayActorError)
        self._metrics = IngressMetrics()
        self._clerk = Clerk(events)
        Gate.door = Door(keys, open_) if keys else None

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Called at the start, and when other models are to be served."""
        models = Models.model_validate(config)
        self._answers.change_to(models)
        self._tallies.serve(map(str, models.all))

    @api.post("/v1/predict")
    async def predict(self, request: Request) -> Response:
        """The likeliest demands of one customer."""
        return (await self._answer("/v1/predict", await request.body())).response()

    @api.post("/v1/recommend")
    async def recommend(self, request: Request) -> Response:
        """A list of items for one customer, within what the shop allows."""
        return (await self._answer("/v1/recommend", await request.body())).response()

    @api.post("/v1/audience")
    async def audience(self, request: Request) -> Response:
        """Who of some customers is most likely to want an item, or something of a category."""
        return (await self._answer("/v1/audience", await request.body())).response()

    @api.post("/v1/forecast")
    async def forecast(self, request: Request) -> Response:
        """What some customers together will buy, with intervals."""
        return (await self._answer("/v1/forecast", await request.body())).response()

    @api.post("/v1/new-product")
    async def new_product(self, request: Request) -> Response:
        """What some customers will buy of something that is not sold yet."""
        return (await self._answer("/v1/new-product", await request.body())).response()

    @api.post("/v1/customers/risk")
    async def risk(self, request: Request) -> Response:
        """Whether a customer comes back, and what has changed."""
        return (await self._answer("/v1/customers/risk", await request.body())).response()

    @api.post("/v1/predict/batch")
    async def predict_batch(self, batch: BatchRequest) -> Response:
        """Several customers at once; each has its own answer or its own error."""
        begin, turn = time.perf_counter(), asyncio.Semaphore(BATCH_AT_ONCE)

        async def answer(request: Any) -> Answer:
            async with turn:
                return await self._answer("/v1/predict", json.dumps(request).encode(), begin)

        answers = await asyncio.gather(*map(answer, batch.requests))
        bodies = [each.body if each.status == 200 else b'{"error": %b}' % each.body for each in answers]
        return Answer(200, b'{"responses": [%b]}' % b", ".join(bodies)).response()

    @api.post("/v1/outcomes")
    async def outcomes(self, outcome: Outcome) -> OutcomeResponse:
        """What came of an answer: with it a challenger's items can be compared with the champion's."""
        try:
            return OutcomeResponse(bought=self._came(outcome))
        except KeyError:
            reason = "answers nobody here"
            raise Problem(422, f"model: {reason}", [{"field": "model", "reason": reason}]) from None

    @api.post("/v1/events")
    async def events(self, request: Request) -> AppendedResponse:
        """Orders, reviews, browsing and profiles, put on disk before they are acknowledged, all or none."""
        return await self._clerk.take_events(await request.body())

    @api.post("/v1/feedback")
    async def feedback(self, request: Request) -> AppendedResponse:
        """What came of answers, kept like events; what is new of it counts as outcomes do."""
        appended, new = await self._clerk.take_feedback(await request.body())
        for each in new:
            with suppress(KeyError):  # a model of earlier days
                self._came(each)
        return appended

    @api.post("/v1/customers")
    async def customers(self, asked: CustomersRequest) -> CustomersResponse:
        """Ids of customers of whom there are events, in order, from behind `after` on."""
        return CustomersResponse(customers=await self._clerk.customer_ids(asked.after, asked.limit))

    @api.post("/v1/customers/record")
    async def record(self, asked: RecordRequest) -> Response:
        """All that is known of a customer by now, as requests hold it."""
        return Response(await self._clerk.record(asked.customer_id), media_type="application/json")

    @api.get("/v1/model")
    async def model(self) -> Any:
        """Name, version and card of the served model."""
        return await self._ask(self.replicas.model)

    @api.get("/v1/models")
    async def models(self) -> RegisteredResponse:
        """Registered versions and sweeps, with their quality."""
        return await self._registered.response()

    @api.get("/v1/status")
    async def status(self) -> StatusResponse:
        """Models, replicas and load."""
        state, replicas = await self._state(STATUS_SECONDS)
        models = []
        if replicas.get("RUNNING"):
            with suppress(Problem):
                models = await self._ask(self.replicas.models, seconds=STATUS_SECONDS)
        for each in models:
            each |= self._tallies.counts(f"{each['name']}@{each['version']}")
        return StatusResponse(status=state, models=models, replicas=replicas, ongoing=self._ongoing)

    @api.get("/v1/items")
    async def items(self) -> Any:
        """The catalogue that demand is predicted for."""
        return {"items": await self._ask(self.replicas.items)}

    @api.get("/healthz")
    async def alive(self) -> dict[str, str]:
        """This process runs."""
        return {"status": "alive"}

    @api.get("/readyz")
    async def ready(self) -> dict[str, str]:
        """A model can answer, or would be started for whoever asks."""
        if not (self._sleeps and await self._state(READY_SECONDS) == ("RUNNING", {})):
            await self._ask(self.replicas.model, seconds=READY_SECONDS)
        return {"status": "ready"}

    async def _state(self, seconds: float) -> tuple[str, dict[str, int]]:
        """Of the application, and how many replicas are in each."""
        try:
            async with asyncio.timeout(seconds):
                status = await asyncio.to_thread(serve.status)
        except TimeoutError:
            raise Problem(503, "Ray Serve's controller does not answer") from None
        application = status.applications[serve.get_replica_context().app_name]
        replicas = application.deployments[self.replicas.deployment_name].replica_states
        return application.status.value, {str(state): count for state, count in replicas.items()}

    def _came(self, outcome: Outcome) -> int:
        """How many items of those shown were bought. Raises KeyError where the model answers nobody here."""
        model = f"{outcome.model.name}@{outcome.model.version}"
        bought = self._tallies.came(model, outcome.shown, outcome.bought)
        self._metrics.came(model, len(set(outcome.shown)), bought)
        return bought

    async def _answer(self, route: str, body: bytes, begin: float | None = None) -> Answer:
        """Within DEADLINE_SECONDS of `begin`, by time.perf_counter; by default of now."""
        begin = begin or time.perf_counter()
        if (left := DEADLINE_SECONDS - (time.perf_counter() - begin)) <= 0:
            return Problem(503, "no answer in time").answer
        try:
            body = await self._clerk.look_up(body, left)  # first, for new events make it another question
        except Problem as problem:
            return problem.answer
        asked = b"%b %b" % (route.encode(), body)
        known = self._answers.find(asked)
        self._metrics.asked(known is not None)
        if known:
            return known
        looked_up = time.perf_counter()
        left = DEADLINE_SECONDS - (looked_up - begin)
        patience = PATIENCE_WITH_GROUPS if issubclass(ROUTES[route].request, GroupRequest) else PATIENCE_SECONDS
        try:
            answer: Answer = await self._ask(self.replicas.answer, route, body, seconds=left, patience=patience)
        except Problem as problem:
            return problem.answer
        self._tallies.answered(answer, time.perf_counter() - looked_up)
        self._answers.keep(asked, answer)
        return answer

    async def _ask(
        self, method: Any, *arguments: Any, seconds: float = DEADLINE_SECONDS, patience: float = PATIENCE_SECONDS
    ) -> Any:
        """What a replica answers. Where one dies or hangs another is asked, once, for no question changes anything."""

        async def ask() -> Any:
            response = method.remote(*arguments)
            try:
                return await response
            except asyncio.CancelledError:
                response.cancel()  # nobody waits for it any more
                raise

        self._ongoing += 1
        try:
            async with asyncio.timeout(seconds):
                return await self._attempts.answer(ask, patience)
        except TimeoutError:
            raise Problem(503, "no answer in time") from None
        except BackPressureError:
            raise Problem(503, "too many requests are waiting") from None
        except (RayActorError, RayServeException):
            raise Problem(503, "no model is ready to answer") from None
        finally:
            self._ongoing -= 1
