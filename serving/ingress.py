"""The HTTP ingress: checks requests, hands them to the replicas, turns every error into a problem document."""

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from ray import serve
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException

from demand.errors import RecordError
from serving.gate import Gate
from serving.problems import Problem, invalid
from serving.schemas import BatchRequest, BatchResponse, PredictRequest, PredictResponse

DEADLINE_SECONDS = 30.0
READY_SECONDS = 2.0

api = FastAPI(
    title="demandcast",
    description="What each customer will want next. Errors are problem documents (RFC 9457).",
    version="1",
)
api.add_middleware(Gate)


@api.exception_handler(Problem)
async def _problem(_: Request, problem: Problem) -> JSONResponse:
    return problem.response()


@api.exception_handler(RequestValidationError)
async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    return invalid(error.errors()).response()


@api.exception_handler(HTTPException)
async def _http(_: Request, error: HTTPException) -> JSONResponse:
    return Problem(error.status_code, str(error.detail)).response()


@api.exception_handler(Exception)
async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    return Problem(500, "the request could not be answered").response()


@serve.deployment(ray_actor_options={"num_cpus": 0}, max_ongoing_requests=1_000)
@serve.ingress(api)
class Ingress:
    """Every route under /v1, and the two health checks."""

    def __init__(self, replicas: DeploymentHandle[Any]) -> None:
        self.replicas = replicas

    @api.post("/v1/predict", response_model=PredictResponse)
    async def predict(self, request: PredictRequest) -> Any:
        """The likeliest demands of one customer."""
        return await self._answer(request)

    @api.post("/v1/predict/batch", response_model=BatchResponse)
    async def predict_batch(self, batch: BatchRequest) -> Any:
        """Several customers at once; each has its own answer or its own error."""
        return {"responses": await asyncio.gather(*(self._answer_or_error(content) for content in batch.requests))}

    @api.get("/v1/model")
    async def model(self) -> Any:
        """Name, version and card of the served model."""
        return await self._ask(self.replicas.model.remote())

    @api.get("/v1/items")
    async def items(self) -> Any:
        """The catalogue that demand is predicted for."""
        return {"items": await self._ask(self.replicas.items.remote())}

    @api.get("/healthz")
    async def alive(self) -> dict[str, str]:
        """This process runs."""
        return {"status": "alive"}

    @api.get("/readyz")
    async def ready(self) -> dict[str, str]:
        """A model can answer."""
        await self._ask(self.replicas.model.remote(), READY_SECONDS)
        return {"status": "ready"}

    async def _answer(self, request: PredictRequest) -> PredictResponse:
        try:
            request.question()
        except RecordError as error:
            raise Problem(422, str(error), [{"field": error.field, "reason": error.reason}]) from None
        answer: PredictResponse = await self._ask(self.replicas.predict.remote(request))
        return answer

    async def _answer_or_error(self, content: Any) -> Any:
        try:
            return await self._answer(PredictRequest.model_validate(content))
        except ValidationError as error:
            return {"error": invalid(error.errors()).document}
        except Problem as problem:
            return {"error": problem.document}

    async def _ask(self, answer: Any, seconds: float = DEADLINE_SECONDS) -> Any:
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            raise Problem(503, f"no answer within {seconds:g} seconds") from None
        except BackPressureError:
            raise Problem(503, "too many requests are waiting") from None
        except RayServeException:
            raise Problem(503, "no model is ready to answer") from None
