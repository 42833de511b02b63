"""LoRA: the pretrained model stays as it is, a little is learned, and a checkpoint holds plain weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.formats import prompt_format
from demand.moments import moment
from demand.packing import pack
from demand.prompts import Renderer
from demand.vocabulary import CONTROL, Vocabulary
from modeling.batch import Batch
from modeling.checkpoint import Checkpoint
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import load_weights, whole_weights
from modeling.parallel import initialize
from modeling.settings import LoraSettings, ModelSettings
from modeling.snapshot import checkpoint_of, save_snapshot
from tests.conftest import CUTOFF

SETTINGS = ModelSettings(layers=2, hidden=32, heads=2, ffn=48, dropout=0.0, activation="swiglu", norm="rms")
LORA = LoraSettings(rank=4, alpha=8)


@pytest.fixture
def base(vocabulary: Vocabulary, catalogue: Catalogue) -> DemandModel:
    initialize(seed=1)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    return model


@pytest.fixture
def adapted(base: DemandModel, vocabulary: Vocabulary, catalogue: Catalogue) -> DemandModel:
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue), lora=LORA)
    load_weights(model, whole_weights(base))
    return model


@pytest.fixture
def arrays(shop: Dataset, vocabulary: Vocabulary, catalogue: Catalogue) -> dict[str, np.ndarray]:
    renderer = Renderer(prompt_format("compact"), vocabulary, catalogue)
    return pack(
        [
            prompt
            for customer in list(shop.customers())[:8]
            for prompt in renderer.training_prompts(customer, moment(CUTOFF), np.random.default_rng(0))
        ]
    )


def answers(model: DemandModel, arrays: dict[str, np.ndarray]) -> torch.Tensor:
    with torch.no_grad():
        shares: torch.Tensor = model.eval()(Batch.from_arrays(arrays))
    return shares


def trained(model: DemandModel, arrays: dict[str, np.ndarray]) -> tuple[FineTuning, list[float]]:
    tuning = FineTuning(model, Schedule(1e-2, warmup_steps=1, total_steps=12, weight_decay=0.1, clip=1.0))
    return tuning, [tuning.step([Batch.from_arrays(arrays)], [step]).loss for step in range(12)]


def test_it_starts_as_the_base_and_learns_with_few_parameters(
    base: DemandModel, adapted: DemandModel, arrays: dict[str, np.ndarray], vocabulary: Vocabulary
) -> None:
    torch.testing.assert_close(answers(adapted, arrays), answers(base, arrays), atol=1e-6, rtol=1e-4)
    before = {name: parameter.detach().clone() for name, parameter in adapted.named_parameters()}

    _, losses = trained(adapted, arrays)

    assert losses[-1] < losses[0] - 0.05
    first_new = vocabulary.first_item - len(CONTROL)
    for name, parameter in adapted.named_parameters():
        if name == SETTINGS.words:
            assert torch.equal(parameter[:first_new], before[name][:first_new])
            assert not torch.equal(parameter[first_new:], before[name][first_new:])
        elif "lora" not in name and not name.startswith("head."):
            assert torch.equal(parameter, before[name]), name
    factors = sum(parameter.numel() for name, parameter in adapted.named_parameters() if "lora" in name)
    width, ffn, rank = SETTINGS.hidden, SETTINGS.ffn, LORA.rank
    layer = (width + 3 * width) + (width + width) + (width + 2 * ffn) + (ffn + width)
    assert factors == SETTINGS.layers * rank * layer


def test_a_checkpoint_answers_as_the_adapted_model_with_plain_weights(
    base: DemandModel,
    adapted: DemandModel,
    arrays: dict[str, np.ndarray],
    vocabulary: Vocabulary,
    catalogue: Catalogue,
    tmp_path: Path,
) -> None:
    tuning, _ = trained(adapted, arrays)
    card = {"settings": {"lora": LORA.model_dump()}}
    description = Checkpoint(SETTINGS, prompt_format("compact"), vocabulary, catalogue, {}, card=card)
    save_snapshot(tuning, description, {}, tmp_path / "snapshot")

    checkpoint = checkpoint_of(tmp_path / "snapshot")

    assert set(checkpoint.weights) == set(whole_weights(base))
    plain = DemandModel(SETTINGS, len(vocabulary), len(catalogue))
    load_weights(plain, checkpoint.weights)
    torch.testing.assert_close(answers(plain, arrays), answers(adapted, arrays), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(answers(base, arrays), answers(adapted, arrays), atol=1e-3)
