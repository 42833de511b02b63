"""A model replica: models in memory, requests answered in batches."""

import asyncio
import ctypes
import logging
import math
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from opentelemetry import trace
from pydantic import ValidationError
from ray import serve

from demand.errors import RecordError, SettingsError
from demand.prompts import Prompt
from demand.questions import Question
from demand.uses.outlook import Outlook
from serving.metrics import Metrics
from serving.models import LoadedModel, LoadedModels, Models
from serving.problems import Answer, Problem, refused
from serving.routes import ROUTES
from serving.schemas import PredictRequest

if TYPE_CHECKING:
    from modeling.predictor import Predictor

log = logging.getLogger("ray.serve")
tracer = trace.get_tracer("demandcast")

TOKENS = 8_192
"""Of a batch, at most."""
BATCH_WAIT_SECONDS = 0.004
ONGOING, QUEUED = 512, 64
"""Requests that a replica holds at once, and that wait beside for a replica with room; more are refused. Those that
wait ask again and again, with all that they carry, and many of them leave no time to answer any."""
NOW_SECONDS = 60.0
"""For which an answer as of now holds."""
AGAIN_SECONDS = 30.0
"""After which a model that could not be loaded is tried again: a store may have been out of reach."""


def _tokens(asked: Sequence[tuple["Predictor", Prompt]]) -> int:
    return sum(min(len(prompt), TOKENS) for _, prompt in asked)


@serve.deployment(
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=ONGOING,
    max_queued_requests=QUEUED,
    health_check_period_s=5,
    health_check_timeout_s=15,
)
class ModelReplica:
    """Answers with the models that user_config names, the JSON of `Models`.

    Bodies of requests come as they were sent: reading them here costs the ingress nothing, and a prompt never meets
    the weights of another model.
    """

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        self._models: LoadedModels  # from the first `reconfigure` on, which comes before every request
        self._wanted: Models | None = None
        self._metrics = Metrics()
        self._explaining = ThreadPoolExecutor(1, "explaining")

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Loads models; called at the start and when others are to be served.

        A replica that answers already goes on, loads beside it, and changes over between two requests. While what is
        wanted cannot be served, those that were served go on.
        """
        first = self._wanted is None
        self._wanted = Models.model_validate(config)
        if first:
            self._models = LoadedModels.load(self._wanted)
        else:
            self._change = asyncio.create_task(self._change_over(self._wanted))

    async def _change_over(self, models: Models) -> None:
        while models == self._wanted:  # else there was another change meanwhile
            try:
                loaded = await asyncio.to_thread(LoadedModels.load, models, self._models)
            except Exception as error:
                log.error("%s not served: %s: %s", ", ".join(map(str, models.all)), type(error).__name__, error)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if models == self._wanted:
                self._models = loaded
            return

    def check_health(self) -> None:
        """Called every few seconds. Gives back what was freed: batches of ever other sizes leave ever other gaps, which
        glibc keeps, until the process holds twice of what it ever needed."""
        if give_back := getattr(ctypes.CDLL(None), "malloc_trim", None):
            give_back(0)

    async def check(self, models: Models) -> None:
        """Whether models could be served here; raises CheckpointError where one could not."""
        await asyncio.to_thread(LoadedModels.load, models, self._models)

    async def answer(self, route: str, body: bytes) -> Answer:
        """A request of one of ROUTES in, its answer or a problem document out."""
        begin = time.perf_counter()
        asked_for = ROUTES[route]
        models = self._models
        model: LoadedModel | None = None
        try:
            request = asked_for.request.model_validate_json(body)
            questions = request.questions()
            model = models.of(request.who)
            for each in questions:
                model.predictor.checkpoint.check_horizon(each.horizon_days)
            if isinstance(request, PredictRequest) and request.explain:
                outlook = await self._explained(model.predictor, questions[0], request.top_k)
            else:
                forecasts = await self._asked(model.predictor, questions)
                outlook = model.predictor.outlook_of(forecasts, questions)
            response = asked_for.answer(model.info, request, outlook)
            answer = Answer(
                200,
                response.model_dump_json().encode(),
                model=model.name,
                models=models.models.digest,
                holds_seconds=NOW_SECONDS if request.as_of is None else math.inf,
            )
        except ValidationError as error:
            answer = refused(error).answer
        except RecordError as error:
            answer = Problem(422, str(error), [{"field": error.field, "reason": error.reason}]).answer
        except SettingsError as error:
            answer = Problem(422, str(error)).answer
        except Exception as error:
            # Its text may hold something of the request.
            where = "".join(traceback.format_tb(error.__traceback__))
            name = model.name if model else None
            log.error("%s failed: %s\n%s", name, type(error).__name__, where)
            answer = Problem(500, "the request could not be answered").answer._replace(model=name)
        if model:
            self._metrics.answered(model.name, answer.status, time.perf_counter() - begin)
        return answer

    async def _asked(self, predictor: "Predictor", questions: Sequence[Question]) -> np.ndarray:
        """The forecast of each question, (R, 1 + V). Their batches need not wait while many prompts are made."""
        asked: list[asyncio.Task[np.ndarray]] = []
        try:
            for each in questions:
                prompt = predictor.renderer.prompt(each.customer, each.as_of, each.horizon_days)
                asked.append(asyncio.create_task(self._forecasts((predictor, prompt))))
                if len(questions) > 1:
                    await asyncio.sleep(0)
            return np.stack([await each for each in asked])
        finally:
            for task in asked:
                task.cancel()  # where nobody waits for it any more

    async def _explained(self, predictor: "Predictor", question: Question, k: int) -> Outlook:
        """With why; in a thread, so that batches of others go on, and one question at a time, whether or not those who
        asked are still there."""
        from modeling.occlusion import explained

        loop = asyncio.get_running_loop()
        with tracer.start_as_current_span("explanation"):
            return await loop.run_in_executor(self._explaining, explained, predictor, question, k)

    @serve.batch(max_batch_size=TOKENS, batch_wait_timeout_s=BATCH_WAIT_SECONDS, batch_size_fn=_tokens)
    async def _forecasts(self, asked: list[tuple["Predictor", Prompt]]) -> list[np.ndarray]:
        """The forecast of each prompt, (1 + V,); one pass of each model for all of its prompts."""
        self._metrics.batched(len(asked), sum(len(prompt) for _, prompt in asked))
        forecasts: list[np.ndarray] = [np.empty(0)] * len(asked)
        for predictor in {id(each): each for each, _ in asked}.values():
            mine = [place for place, (each, _) in enumerate(asked) if each is predictor]
            with tracer.start_as_current_span("forward_pass", attributes={"requests": len(mine)}):
                found = predictor.forecasts_of([asked[place][1] for place in mine])
            for place, row in zip(mine, found, strict=True):
                forecasts[place] = row
        return forecasts

    def model(self) -> dict[str, Any]:
        """Name, version and card of the champion."""
        champion = self._models.champion
        return {**champion.info.model_dump(), "card": champion.predictor.checkpoint.card}

    def models(self) -> list[dict[str, Any]]:
        """Who answers what share of the customers here."""
        loaded = self._models
        shares = {loaded.models.champion: 1.0}
        if loaded.models.challenger:
            shares = {loaded.models.champion: 1 - loaded.models.share, loaded.models.challenger: loaded.models.share}
        return [{**loaded.loaded[each].info.model_dump(), "share": share} for each, share in shares.items()]

    def items(self) -> list[dict[str, Any]]:
        """The champion's catalogue."""
        return self._models.champion.predictor.catalogue.rows()
