"""Megatron-core's T5Model under the same prompts, head, checkpoints and serving as the decoder."""

from pathlib import Path

import httpx
import numpy as np
import pytest
from ray import serve

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.moments import moment
from demand.packing import pack
from demand.prompts import Renderer
from demand.vocabulary import Vocabulary
from modeling.checkpoint import Checkpoint, save_checkpoint
from modeling.finetuning import FineTuning, Schedule
from modeling.model import DemandModel, initialize_from_catalogue
from modeling.parallel import initialize
from modeling.predictor import Predictor, Question
from modeling.shards import whole_weights
from ray_app.presets import load_settings
from serving.application import Served, running
from serving.schemas import CustomerRecord
from tests.conftest import CUTOFF
from tests.serving.test_serving import free_port

pytestmark = pytest.mark.usefixtures("ray_cluster")
AS_OF = moment(CUTOFF)
STEPS = 20


@pytest.fixture
def checkpoint(shop: Dataset, catalogue: Catalogue, vocabulary: Vocabulary) -> Checkpoint:
    """A small encoder and decoder that learned from the shop, each question in a prompt of its own."""
    initialize(seed=3)
    settings = load_settings("t5-nano").with_values({"model.layers": 1, "model.hidden": 32, "model.ffn": 64})
    model = DemandModel(settings.model, len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    renderer, rng = Renderer(settings.prompt, vocabulary, catalogue), np.random.default_rng(3)
    prompts = [
        prompt.alone(int(rng.integers(len(prompt.queries))))
        for customer in shop.customers(before=AS_OF)
        for prompt in renderer.training_prompts(customer, AS_OF, rng)
    ]
    tuning = FineTuning(model, Schedule(5e-3, 1, STEPS, 0.01, 1.0))
    losses = [tuning.step([pack(prompts[:20]), pack(prompts[20:])], range(2)).loss for _ in range(STEPS)]
    assert losses[-1] < losses[0] - 0.1
    return Checkpoint(settings.model, settings.prompt, vocabulary, catalogue, whole_weights(model), card={"run": "t5"})


def test_an_encoder_and_decoder_learns_and_is_served(checkpoint: Checkpoint, shop: Dataset, tmp_path: Path) -> None:
    save_checkpoint(checkpoint, tmp_path / "model")
    customer = next(iter(shop.customers(before=AS_OF)))
    record = CustomerRecord.of(customer).model_dump(mode="json")

    with running(Served(str(tmp_path / "model"), "demand", 1, port=free_port())) as url:
        asked = {"customer": record, "as_of": f"{CUTOFF}T00:00:00Z", "top_k": 6}
        answer = httpx.post(f"{url}/v1/predict", json=asked, timeout=30).json()

    serve.shutdown()  # another test's endpoint listens on another port

    bought = {item for order in customer.orders for item in order.items}
    assert len({demand["item_id"] for demand in answer["demands"]} & bought) >= 4
    chances = Predictor.load(tmp_path / "model").answer([Question(customer, AS_OF)], 6)[0]
    assert [demand["probability"] for demand in answer["demands"]] == pytest.approx(
        [each.probability for each in chances]
    )
