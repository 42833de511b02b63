"""Differential privacy: what one customer can change is bounded, and hidden by noise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from torch import Tensor

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.formats import prompt_format
from demand.moments import moment
from demand.packing import pack
from demand.prompts import Renderer
from demand.vocabulary import Vocabulary
from modeling.batch import Batch
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.private import Privacy, PrivateGradients
from modeling.parallel import initialize
from modeling.settings import ModelSettings
from tests.conftest import CUTOFF

SETTINGS = ModelSettings(layers=1, hidden=32, heads=2, ffn=48)


@pytest.fixture(scope="module")
def model(vocabulary: Vocabulary, catalogue: Catalogue) -> DistributedDataParallel:
    initialize(seed=1)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue))
    return DistributedDataParallel(model.config, DistributedDataParallelConfig(grad_reduce_in_fp32=True), model)


def loss(model: DistributedDataParallel, *gradient: float) -> Tensor:
    """Whose gradient is that in the first item biases, and nothing elsewhere."""
    return (model.module.head.item_bias[: len(gradient)] * torch.tensor(gradient)).sum()


def filled(model: DistributedDataParallel, privacy: Privacy, *gradients: tuple[float, ...]) -> Tensor:
    """All gradients that a step learns from."""
    PrivateGradients(model, privacy).fill(loss(model, *each) for each in gradients)
    return torch.cat([parameter.main_grad.flatten().clone() for parameter in model.module.parameters()])


def of_biases(model: DistributedDataParallel, count: int) -> list[float]:
    return model.module.head.item_bias.main_grad[:count].tolist()


def test_long_gradients_are_cut_and_short_ones_are_not(model: DistributedDataParallel) -> None:
    filled(model, Privacy(clip=1.0, noise=0.0, customers=2), (3.0, 4.0), (0.3, 0.4))
    assert of_biases(model, 2) == pytest.approx([(0.6 + 0.3) / 2, (0.8 + 0.4) / 2])


def test_the_sum_is_shared_by_those_expected_not_by_those_who_came(model: DistributedDataParallel) -> None:
    filled(model, Privacy(clip=1.0, noise=0.0, customers=10), (0.5,))
    assert of_biases(model, 1) == pytest.approx([0.05])
    filled(model, Privacy(clip=1.0, noise=0.0, customers=10))
    assert of_biases(model, 1) == [0]


def test_a_gradient_that_is_no_number_has_no_say(model: DistributedDataParallel) -> None:
    filled(model, Privacy(clip=1.0, noise=0.0, customers=1), (float("nan"),), (float("inf"),), (0.5, 0.5))
    assert of_biases(model, 2) == [0.5, 0.5]


vectors = st.tuples(*[st.floats(-1e6, 1e6, allow_nan=False)] * 3)


@settings(max_examples=30)
@given(others=st.lists(vectors, max_size=3), one=vectors, clip=st.floats(0.1, 10))
def test_no_customer_changes_more_than_the_clip(
    model: DistributedDataParallel, others: list[tuple[float, ...]], one: tuple[float, ...], clip: float
) -> None:
    privacy = Privacy(clip, noise=0.0, customers=4)
    change = filled(model, privacy, *others, one) - filled(model, privacy, *others)
    assert torch.linalg.vector_norm(change) <= clip / 4 * (1 + 1e-5)


def test_noise_is_as_large_as_promised_and_never_the_same(model: DistributedDataParallel) -> None:
    privacy = Privacy(clip=0.5, noise=3.0, customers=100)
    first, second = filled(model, privacy).numpy(), filled(model, privacy).numpy()
    assert len(first) > 10_000
    assert first.std() == pytest.approx(3.0 * 0.5 / 100, rel=0.05)
    assert abs(first.mean()) < 5 * 3.0 * 0.5 / 100 / len(first) ** 0.5
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_a_model_learns_from_customers_one_by_one(shop: Dataset, vocabulary: Vocabulary, catalogue: Catalogue) -> None:
    initialize(seed=1)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue), catalogue=catalogue)
    initialize_from_catalogue(model, vocabulary, catalogue)
    renderer = Renderer(prompt_format("compact"), vocabulary, catalogue)
    customers = [
        pack(list(renderer.training_prompts(each, moment(CUTOFF), np.random.default_rng(0))))
        for each in list(shop.customers())[:8]
    ]
    privacy = Privacy(clip=1.0, noise=0.01, customers=8)
    tuning = FineTuning(model, Schedule(1e-2, 1, total_steps=12, weight_decay=0.0, clip=1.0, privacy=privacy))

    losses = [tuning.step(map(Batch.from_arrays, customers), range(8)).loss for _ in range(12)]

    assert losses[-1] < losses[0] - 0.05
