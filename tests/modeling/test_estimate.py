"""Estimates against real models and their tensors, against figures worked out by hand, and against each other."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.formats import prompt_format
from demand.moments import moment
from demand.packing import pack
from demand.prompts import Prompt, Renderer
from demand.vocabulary import CONTROL, Vocabulary
from modeling.batch import Batch
from modeling.devices import GPUS
from modeling.estimate import GIB, estimate, fitting
from modeling.layout import LayoutSettings
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.model import DemandModel, parameter_count
from modeling.parallel import initialize
from modeling.parameters import Run
from modeling.settings import LoraSettings, ModelSettings
from tests.conftest import CUTOFF

H100 = GPUS["h100"]
LLAMA_LIKE: dict[str, Any] = {
    "family": "llama", "norm": "rms", "activation": "swiglu", "bias": False, "qkv_bias": False, "dropout": 0.0
}  # fmt: skip
SHAPES = {
    "nano": ModelSettings(layers=2, hidden=64, heads=2, ffn=256, dropout=0.0),
    "calendar": ModelSettings(layers=1, hidden=32, heads=2, ffn=64, calendar=True),
    "gpt2": ModelSettings(
        family="gpt2", layers=3, hidden=32, heads=2, ffn=96, positions="learned", places=50, language_head="tied"
    ),
    "llama": ModelSettings(layers=2, hidden=64, heads=8, key_value_heads=2, ffn=144, language_head="own", **LLAMA_LIKE),
    "qwen2": ModelSettings.model_validate(
        {**LLAMA_LIKE, "family": "qwen2", "layers": 1, "hidden": 32, "heads": 4, "ffn": 64, "qkv_bias": True}
    ),
    "qwen3": ModelSettings.model_validate(
        {
            **LLAMA_LIKE,
            "family": "qwen3",
            "layers": 2,
            "hidden": 32,
            "heads": 4,
            "key_value_heads": 2,
            "head_width": 16,
            "ffn": 64,
            "qk_norm": True,
            "language_head": "tied",
        }
    ),
    "t5": ModelSettings.model_validate(
        {
            **LLAMA_LIKE,
            "architecture": "t5",
            "family": "t5",
            "positions": "relative",
            "layers": 2,
            "hidden": 32,
            "heads": 4,
            "ffn": 64,
            "activation": "geglu_tanh",
            "language_head": "own",
        }
    ),
    "t5 with biases": ModelSettings(
        architecture="t5", family="t5", positions="relative", layers=2, hidden=32, heads=2, ffn=64, activation="relu"
    ),
}
GPT2_345M = ModelSettings(
    family="gpt2", layers=24, hidden=1_024, heads=16, ffn=4_096, positions="learned", places=1_024,
    activation="gelu_tanh", language_head="tied",
)  # fmt: skip
LLAMA_8B = ModelSettings(
    layers=32, hidden=4_096, heads=32, key_value_heads=8, ffn=14_336, language_head="own", **LLAMA_LIKE
)


def run_of(model: ModelSettings, workers: int = 1, **more: Any) -> Run:
    layout = LayoutSettings(**{name: more.pop(name) for name in list(more) if name in LayoutSettings.model_fields})
    usual = {"text_tokens": 300, "items": 50, "history_tokens": 1_024, "microbatch_tokens": 2_048, "microbatches": 8}
    return Run(model, layout, workers, **{**usual, **more})


def head_parameters(width: int, items: int, norm: int) -> int:
    """Norm, query, item biases; three networks, 128 wide: 9 features of a customer, for the wait 2 more and a second
    layer but no query, 29 of an item, 6 of its sales; query and item; 10 intervals of the wait; 4 weights of what sold
    of late; 128 signs of a name."""
    customer = (10 * 128 + width * 128 + 129) + (10 * 128 + 2 * 128 + 129 * 128 + 10 * 129)
    names = (width + 1) * 128
    habits = (30 + 6) * 128 + (width + 1) * 4 + 9 * 128 + 2 * width * 128 + 129 * 128 + 129
    return norm * width + width * width + width + names + items + customer + habits


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_the_real_model(name: str, rank: int) -> None:
    initialize()
    model = DemandModel(SHAPES[name], 300 + len(CONTROL) + 50, 50, lora=LoraSettings(rank=rank))

    found = estimate(run_of(SHAPES[name], lora_rank=rank), H100)

    assert found.parameters == found.parameters_per_worker == parameter_count(model)
    assert found.trained == sum(each.numel() for each in model.parameters() if each.requires_grad)


def test_gpt2_medium_has_355_million_parameters_under_our_head() -> None:
    # GPT-2 medium as published: 354,823,168, of which the final norm is our head's.
    rows = -(-(50_257 + len(CONTROL) + 2_222) // 128) * 128

    found = estimate(run_of(GPT2_345M, text_tokens=50_257, items=2_222), H100)

    head = head_parameters(1_024, 2_222, norm=2)
    assert found.parameters == 354_823_168 - 2 * 1_024 + (rows - 50_257) * 1_024 + head


def test_llama_8b_has_its_8_billion_parameters_under_our_head() -> None:
    # Llama 3.1 8B as published: 8,030,261,248. Control tokens lengthen its language head, items and padding its input.
    rows = -(-(128_256 + len(CONTROL) + 2_222) // 128) * 128

    found = estimate(run_of(LLAMA_8B, text_tokens=128_256, items=2_222), H100)

    more = (rows - 128_256 + len(CONTROL)) * 4_096
    assert found.parameters == 8_030_261_248 - 4_096 + more + head_parameters(4_096, 2_222, norm=1)
    assert found.parameters - found.trained == (128_256 + len(CONTROL)) * 4_096


@pytest.fixture
def prompts(shop: Dataset, catalogue: Catalogue, vocabulary: Vocabulary) -> list[Prompt]:
    """Histories of the shop, each with many questions."""
    renderer, rng = Renderer(prompt_format("compact"), vocabulary, catalogue), np.random.default_rng(0)
    customers = list(shop.customers())[:16]
    return [each for customer in customers for each in renderer.training_prompts(customer, moment(CUTOFF), rng)]


@pytest.mark.parametrize(("precision", "moments"), [("fp32", 2), ("bf16", 3)])
def test_weights_gradients_and_moments_are_those_of_a_real_run(
    prompts: list[Prompt], vocabulary: Vocabulary, catalogue: Catalogue, precision: Any, moments: int
) -> None:
    initialize()
    layout = LayoutSettings(precision=precision)
    model = DemandModel(SHAPES["llama"], len(vocabulary), len(catalogue), layout)
    tuning = FineTuning(model, Schedule(1e-3, 1, 10, 0.01, 1.0, averaging=0.9), layout)
    tuning.step([Batch.from_arrays(pack(prompts))], [0])

    run = run_of(SHAPES["llama"], text_tokens=vocabulary.first_control, items=len(catalogue), precision=precision)
    memory = estimate(run, H100).memory

    (adam,) = (each.optimizer for each in tuning._optimizer.chained_optimizers)
    kept = [each for state in adam.state.values() for each in (state["exp_avg"], state["exp_avg_sq"])]
    if precision == "bf16":
        kept += [each for group in adam.param_groups for each in group["params"]]
    assert memory.weights == _bytes(model.parameters())
    assert memory.gradients == _bytes(buffer.grad_data for buffer in tuning._parallel.buffers)
    assert _bytes(kept) == moments * memory.gradients
    assert memory.optimizer == _bytes(kept) + _bytes(tuning._average._means)


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("name", SHAPES)
def test_activations_are_what_a_real_step_keeps(
    name: str,
    rank: int,
    prompts: list[Prompt],
    vocabulary: Vocabulary,
    catalogue: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    initialize()
    shape = SHAPES[name].model_copy(update={"places": 1_024} if SHAPES[name].places else {})
    if shape.architecture == "t5":
        prompts = [each.alone(len(each.queries) - 1) for each in prompts]
    model = DemandModel(shape, len(vocabulary), len(catalogue), lora=LoraSettings(rank=rank)).train()
    batch = Batch.from_prompts(prompts)
    tensors = [each for each in vars(batch).values() if isinstance(each, torch.Tensor)]
    before = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *tensors)}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(batch, learn=True)
    measured = sum(storage.nbytes() for place, storage in kept.items() if place not in before)

    side_by_side = shape.architecture == "t5"  # and padded
    tokens = len(prompts) * batch.longest if side_by_side else len(batch.tokens_T)
    queries = len(batch.queries_R)
    monkeypatch.setattr("modeling.estimate.QUERIES", queries / tokens)
    monkeypatch.setattr("modeling.estimate.MET", len(batch.met_item_P) / queries / batch.longest)
    run = run_of(shape, items=len(catalogue), microbatch_tokens=tokens, history_tokens=batch.longest, lora_rank=rank)
    assert measured == pytest.approx(estimate(run, H100).memory.activations, rel=0.08)


def _bytes(tensors: Any) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def test_llama_8b_in_32_bits_needs_more_than_one_h100_and_is_told_how_many() -> None:
    run = run_of(LLAMA_8B, text_tokens=128_256, items=2_222)
    found = estimate(run, H100).memory

    assert found.weights / GIB == pytest.approx(30.1, abs=0.1)
    assert found.total > H100.memory
    other = next(fitting(run, H100))
    assert other.workers == 2
    assert other.layout.tensor == 2
    assert estimate(other, H100).memory.total <= H100.memory


def test_llama_8b_with_lora_over_four_h100_fits_easily() -> None:
    spread: dict[str, Any] = {"tensor": 4, "sequence_parallel": True, "precision": "bf16"}
    run = run_of(LLAMA_8B, 4, text_tokens=128_256, items=2_222, lora_rank=16, **spread)

    found = estimate(run, H100)

    # A layer's adapters: 16 x (4,096 + 6,144 + 4,096 + 4,096 + 4,096 + 28,672 + 14,336 + 4,096)
    embeddings = 130_560 * 4_096  # 128,256 + 39 + 2,222 tokens, padded
    assert found.trained == 32 * 16 * 69_632 + embeddings + head_parameters(4_096, 2_222, norm=1)
    assert found.memory.total < 0.3 * H100.memory


@given(
    st.sampled_from(["fp32", "bf16"]), st.booleans(), st.sampled_from(["none", "full"]), st.sampled_from([1, 2, 4]),
    st.sampled_from(list(SHAPES)), st.integers(0, 5_000), st.sampled_from([0, 8]),
)  # fmt: skip
@settings(max_examples=100)
def test_more_sharing_never_takes_more_memory(
    precision: Any, sequence_parallel: bool, recompute: Any, pipeline: int, name: str, items: int, rank: int
) -> None:
    shape = SHAPES[name].model_copy(update={"layers": 4, "heads": 16, "key_value_heads": 8, "head_width": 4})
    one = run_of(shape, 16 * pipeline, precision=precision, recompute=recompute, pipeline=pipeline, items=items,
                 microbatches=64, lora_rank=rank)  # fmt: skip

    def total(**changes: Any) -> float:
        return estimate(replace(one, layout=one.layout.model_copy(update=changes)), H100).memory.total

    sizes = [total(tensor=tensor, sequence_parallel=sequence_parallel and tensor > 1) for tensor in (1, 2, 4, 8)]
    assert sizes == sorted(sizes, reverse=True)
    assert total(distributed_optimizer=True) <= total()
    assert total(recompute="full") <= total(recompute="none") * 1.5  # a small model's layer weighs as much as all


def test_speed_follows_the_device_the_copies_and_the_bubble() -> None:
    def speed(workers: int = 1, **more: Any) -> float:
        return estimate(run_of(GPT2_345M, workers, **more), H100).tokens_per_second

    assert speed(precision="bf16") / speed() == pytest.approx(989.4 / 67)
    assert speed(4) == pytest.approx(4 * speed())
    assert speed(4, pipeline=4, microbatches=4) == pytest.approx(4 * speed() * 4 / 7)
    # 24 layers x 12 x 1,024^2 weights at 6 FLOPs each, and 24 x 12 x 1,024 x 512 of attention; the head adds little
    assert speed() == pytest.approx(0.4 * 67e12 / (6 * 302e6 + 151e6), rel=0.03)
