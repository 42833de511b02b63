"""A model replica: one checkpoint in memory, requests answered in batches."""

from typing import Any

from ray import serve

from demand.moments import iso
from serving.schemas import DemandRecord, ModelInfo, PredictRequest, PredictResponse

LARGEST_BATCH = 16
BATCH_WAIT_SECONDS = 0.004


@serve.deployment(
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=4 * LARGEST_BATCH,
    max_queued_requests=1_000,
    autoscaling_config={"min_replicas": 1, "max_replicas": 1, "target_ongoing_requests": LARGEST_BATCH},
)
class ModelReplica:
    """Answers with the model that user_config names: {"checkpoint", "name", "version"}."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Loads a checkpoint; called at the start and when another model is to be served."""
        from modeling.predictor import Predictor  # takes seconds, which the ingress and the command line can do without

        self.predictor = Predictor.load(config["checkpoint"])
        self.info = ModelInfo(
            name=config["name"],
            version=config["version"],
            prompt_format=self.predictor.checkpoint.prompt_format.name,
        )

    @serve.batch(max_batch_size=LARGEST_BATCH, batch_wait_timeout_s=BATCH_WAIT_SECONDS)
    async def predict(self, requests: list[PredictRequest]) -> list[PredictResponse]:
        """Valid requests in, answers out; one pass of the model for all of them."""
        questions = [request.question() for request in requests]
        answers = self.predictor.answer(questions, max(request.top_k for request in requests))
        catalogue = self.predictor.catalogue
        return [
            PredictResponse(
                model=self.info,
                as_of=iso(question.as_of),
                horizon_days=request.horizon_days,
                demands=[
                    DemandRecord(
                        item_id=catalogue.item_ids[demand.item],
                        name=catalogue.names[demand.item],
                        probability=demand.probability,
                        expected_quantity=demand.expected_quantity,
                        expected_amount=demand.expected_amount,
                    )
                    for demand in demands[: request.top_k]
                ],
                unknown_items=sorted(item for item in request.customer.items if item not in catalogue.index),
            )
            for request, question, demands in zip(requests, questions, answers, strict=True)
        ]

    def model(self) -> dict[str, Any]:
        """Name, version and card of the served model."""
        return {**self.info.model_dump(), "card": self.predictor.checkpoint.card}

    def items(self) -> list[dict[str, Any]]:
        """The catalogue."""
        return self.predictor.catalogue.rows()
