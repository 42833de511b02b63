"""A model spread over processes learns as one process does, whatever the layout; and goes on in another one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.formats import prompt_format
from demand.moments import moment
from demand.packing import pack
from demand.prompts import Renderer
from demand.vocabulary import Vocabulary
from modeling.layout import LayoutSettings
from modeling.megatron.lora import B
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.parallel import initialize
from modeling.settings import LoraSettings, ModelSettings
from tests.conftest import CUTOFF
from tests.modeling.spread import STEPS, Program, Stage, run

SETTINGS = ModelSettings(
    layers=2, hidden=32, heads=4, key_value_heads=2, ffn=48, dropout=0.0, activation="swiglu", norm="rms", qk_norm=True,
    calendar=True,
)  # fmt: skip
T5 = SETTINGS.model_copy(
    update={"architecture": "t5", "family": "t5", "positions": "relative", "key_value_heads": None, "qk_norm": False}
)
DROPPING = SETTINGS.model_copy(update={"dropout": 0.3})
LORA = LoraSettings(rank=4, alpha=8)
HALF = {"precision": "bf16", "distributed_optimizer": True}
PROGRAMS = [
    Program("one", LayoutSettings(), keep_after=5),
    Program("tensor", LayoutSettings(tensor=2), 2, keep_after=5),
    Program("pipeline", LayoutSettings(pipeline=2), 2, keep_after=5),
    Program("data", LayoutSettings(distributed_optimizer=True), 2, keep_after=5),
    Program("tensor-data", LayoutSettings(tensor=2, distributed_optimizer=True), 4, keep_after=5),
    Program("tensor-to-one", LayoutSettings(), start="tensor"),
    Program("one-to-pipeline", LayoutSettings(pipeline=2), 2, start="one"),
    Program("half", LayoutSettings(**HALF), keep_after=5),
    Program("half-again", LayoutSettings(**HALF), start="half"),
]
FURTHER_PROGRAMS = [
    Program("tensor-pipeline", LayoutSettings(tensor=2, pipeline=2), 4),
    Program("sequence", LayoutSettings(tensor=2, sequence_parallel=True), 2),
    Program("recompute", LayoutSettings(recompute="full")),
    Program("context", LayoutSettings(context=2, distributed_optimizer=True), 2),
    Program("context-sequence", LayoutSettings(context=2, tensor=2, sequence_parallel=True), 4),
    Program("context-pipeline", LayoutSettings(context=2, pipeline=2), 4),
    Program("pipeline-to-data", LayoutSettings(), 2, start="pipeline"),
    Program("tensor-data-to-one", LayoutSettings(distributed_optimizer=True), start="tensor-data"),
    Program("data-to-tensor-data", LayoutSettings(tensor=2, distributed_optimizer=True), 4, start="data"),
    Program("lora-one", LayoutSettings(), lora=LORA),
    Program("lora-tensor", LayoutSettings(tensor=2), 2, LORA, keep_after=5),
    Program("lora-pipeline", LayoutSettings(pipeline=2), 2, LORA),
    Program("lora-sequence", LayoutSettings(tensor=2, sequence_parallel=True, distributed_optimizer=True), 2, LORA),
    Program("lora-tensor-to-one", LayoutSettings(), 1, LORA, start="lora-tensor"),
    Program("half-tensor", LayoutSettings(tensor=2, **HALF), 2, keep_after=5),
    Program("half-plain", LayoutSettings(precision="bf16"), keep_after=5),
    Program("half-plain-again", LayoutSettings(precision="bf16"), start="half-plain"),
    Program("half-tensor-to-one", LayoutSettings(**HALF), start="half-tensor"),
]
DROPPING_PROGRAMS = [
    Program("sequence", LayoutSettings(tensor=2, sequence_parallel=True), 2, keep_after=5),
    Program("sequence-again", LayoutSettings(tensor=2, sequence_parallel=True), 2, start="sequence"),
]
T5_PROGRAMS = [
    Program("one", LayoutSettings()),
    Program("tensor", LayoutSettings(tensor=2, distributed_optimizer=True), 2, keep_after=5),
    Program("tensor-to-one", LayoutSettings(distributed_optimizer=True), start="tensor"),
]
ALONE = ("one", "lora-one")


@pytest.fixture(scope="module")
def stages(
    tmp_path_factory: pytest.TempPathFactory, shop: Dataset, catalogue: Catalogue, vocabulary: Vocabulary
) -> dict[str, Stage]:
    renderer = Renderer(prompt_format("compact"), vocabulary, catalogue)
    stages = {}
    for name, settings in (("gpt", SETTINGS), ("t5", T5), ("dropping", DROPPING)):
        stage = Stage(tmp_path_factory.mktemp("spread"), settings, len(vocabulary), catalogue)
        write_weights(stage, vocabulary, catalogue)
        write_microbatches(stage, shop, renderer)
        stages[name] = stage
    run([(stages["gpt"], each) for each in PROGRAMS])
    return stages


@pytest.fixture(scope="module")
def further(stages: dict[str, Stage]) -> None:
    run(
        [
            *((stages["gpt"], each) for each in FURTHER_PROGRAMS),
            *((stages["t5"], each) for each in T5_PROGRAMS),
            *((stages["dropping"], each) for each in DROPPING_PROGRAMS),
        ]
    )


@pytest.fixture
def stage(request: pytest.FixtureRequest, stages: dict[str, Stage]) -> Stage:
    if request.node.get_closest_marker("drill"):
        request.getfixturevalue("further")
    return stages["gpt"]


def names(fits: Callable[[Program], object]) -> list[Any]:
    """Of the programs that fit; those of the further ones are drills."""
    return [
        *(each.name for each in PROGRAMS if fits(each)),
        *(pytest.param(each.name, marks=pytest.mark.drill) for each in FURTHER_PROGRAMS if fits(each)),
    ]


def in_full(program: Program) -> bool:
    return program.layout.precision != "bf16"


def write_weights(stage: Stage, vocabulary: Vocabulary, catalogue: Catalogue) -> None:
    initialize(seed=3)
    model = DemandModel(stage.settings, stage.vocabulary, len(stage.catalogue), lora=LORA)
    initialize_from_catalogue(model, vocabulary, catalogue)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("head.") or name.endswith(B):  # every part has its say from the first step on
                parameter.add_(torch.randn_like(parameter) * 0.05)
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    weights[stage.settings.words] = weights[stage.settings.words][: stage.vocabulary].clone()
    save_file(weights, stage.folder / "weights.safetensors")


def write_microbatches(stage: Stage, shop: Dataset, renderer: Renderer) -> None:
    customers = list(shop.customers())
    for number in range(STEPS * stage.microbatches):
        rng = np.random.default_rng(number)
        prompts = [
            prompt
            for place in rng.choice(len(customers), 3, replace=False)
            for prompt in renderer.training_prompts(customers[place], moment(CUTOFF), rng)
        ]
        if stage.settings.architecture == "t5":
            prompts = [prompt.alone(len(prompt.queries) // 2) for prompt in prompts]
        np.savez(stage.folder / f"{number}.npz", **pack(prompts))


def one_process(name: str) -> str:
    """The program that does the same alone."""
    return "lora-one" if name.startswith("lora") else "one"


@pytest.mark.parametrize("name", names(lambda each: in_full(each) and not each.start and each.name not in ALONE))
def test_every_layout_learns_as_one_process(stage: Stage, name: str) -> None:
    alone = stage.losses(one_process(name))

    assert stage.losses(name) == pytest.approx(alone, abs=1e-4)
    assert min(alone) < alone[0] - 0.05


@pytest.mark.parametrize("name", names(lambda each: in_full(each) and each.start))
def test_a_state_saved_in_one_layout_goes_on_in_another(stage: Stage, name: str) -> None:
    assert stage.losses(name) == pytest.approx(stage.losses(one_process(name))[5:], abs=1e-4)


@pytest.mark.parametrize("name", names(lambda each: not in_full(each) and not each.start))
def test_half_precision_learns_nearly_the_same(stage: Stage, name: str) -> None:
    assert stage.losses(name) == pytest.approx(stage.losses("one"), abs=0.01)
    assert stage.losses(name) != pytest.approx(stage.losses("one"), abs=1e-6)


@pytest.mark.parametrize(
    ("again", "undisturbed", "within"),
    [
        ("half-again", "half", 1e-6),
        pytest.param("half-plain-again", "half-plain", 1e-6, marks=pytest.mark.drill),
        pytest.param("half-tensor-to-one", "half-tensor", 0.01, marks=pytest.mark.drill),
    ],
)
def test_a_state_in_half_precision_goes_on(stage: Stage, again: str, undisturbed: str, within: float) -> None:
    assert stage.losses(again) == pytest.approx(stage.losses(undisturbed)[5:], abs=within)


@pytest.mark.drill
@pytest.mark.usefixtures("further")
def test_an_encoder_and_decoder_is_sharded_as_well(stages: dict[str, Stage]) -> None:
    alone = stages["t5"].losses("one")

    assert stages["t5"].losses("tensor") == pytest.approx(alone, abs=1e-4)
    assert stages["t5"].losses("tensor-to-one") == pytest.approx(alone[5:], abs=1e-4)


@pytest.mark.drill
@pytest.mark.usefixtures("further")
def test_what_is_dropped_from_shared_sequences_is_the_same_after_a_restart(stages: dict[str, Stage]) -> None:
    undisturbed = stages["dropping"].losses("sequence")

    assert stages["dropping"].losses("sequence-again") == pytest.approx(undisturbed[5:], abs=1e-6)


def test_what_is_kept_holds_no_pickle(stage: Stage) -> None:
    for kept in (stage.folder / "tensor", stage.folder / "tensor-data"):
        assert {file.suffix for file in Path(kept).iterdir()} == {".safetensors", ".json"}
