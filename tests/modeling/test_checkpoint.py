"""Checkpoints: what is saved comes back, what is damaged is refused, and no code is run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from demand.catalogue import PURCHASES, Catalogue
from demand.dataset import Dataset
from demand.errors import CheckpointError
from demand.formats import prompt_format
from demand.moments import DAY, moment
from demand.protocols import TEST, Cutoff
from demand.questions import Question
from demand.vocabulary import Vocabulary
from modeling.batch import Batch
from modeling.calibration import Calibration, Curve, fit_curve
from modeling.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from modeling.counterpart import LANGUAGE_HEAD
from modeling.export import export_hf, written_weights
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import whole_weights
from modeling.parallel import initialize
from modeling.predictor import Predictor
from modeling.settings import ModelSettings
from modeling.state import load_state, save_state
from tests.conftest import CUTOFF

SETTINGS = ModelSettings(layers=2, hidden=32, heads=2, ffn=64)
T5 = SETTINGS.model_copy(update={"architecture": "t5", "family": "t5", "positions": "relative"})
AS_OF = moment(CUTOFF)


@pytest.fixture(scope="module")
def checkpoint(catalogue: Catalogue, vocabulary: Vocabulary) -> Checkpoint:
    initialize(seed=3)
    model = DemandModel(SETTINGS, len(vocabulary), len(catalogue))
    initialize_from_catalogue(model, vocabulary, catalogue)
    weights = whole_weights(model)
    curve = Curve(slope=0.9, level=0.5)
    calibration = Calibration(next_order=curve, horizon=Curve(slope=0.9, level=0.5, span=0.2))
    return Checkpoint(SETTINGS, prompt_format("profile"), vocabulary, catalogue, weights, calibration, {"run": "r"})


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(checkpoint, tmp_path / "model")
    return tmp_path / "model"


def test_what_is_saved_comes_back(checkpoint: Checkpoint, folder: Path, shop: Dataset) -> None:
    questions = [Question(customer, AS_OF, days) for customer in list(shop.customers())[:5] for days in (0, 28)]

    loaded = load_checkpoint(folder)

    assert (loaded.settings, loaded.prompt_format, loaded.calibration, loaded.card) == (
        checkpoint.settings,
        checkpoint.prompt_format,
        checkpoint.calibration,
        checkpoint.card,
    )
    np.testing.assert_array_equal(Predictor(loaded).chances(questions), Predictor(checkpoint).chances(questions))


def test_an_encoder_and_decoder_answers_alike_in_passes_that_hold_its_padding(
    checkpoint: Checkpoint, shop: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialize(seed=3)
    model = DemandModel(T5, len(checkpoint.vocabulary), len(checkpoint.catalogue))
    predictor = Predictor(replace(checkpoint, settings=T5, weights=whole_weights(model)))
    questions = [Question(customer, AS_OF) for customer in list(shop.customers())[:6]]
    sizes: list[int] = []
    predictor.model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0].lengths) * given[0].longest))

    at_once = predictor.rates(questions)
    monkeypatch.setattr("modeling.predictor.TOKENS_PER_PASS", limit := sizes.pop() // 2)

    np.testing.assert_allclose(predictor.rates(questions), at_once, rtol=1e-4)
    assert len(sizes) > 1
    assert max(sizes) <= limit


def test_what_sold_after_training_is_read(checkpoint: Checkpoint, shop: Dataset) -> None:
    predictor = Predictor(checkpoint)
    torch.nn.init.ones_(predictor.model.head.sales_query.bias)  # as if it had learned to follow sales of late
    questions = [Question(next(shop.customers()), AS_OF)]
    lines = pa.concat_tables(Cutoff(cutoff=AS_OF).lines(shop, TEST))
    yesterday = [(f"new{number}", AS_OF - DAY, f"o{number}", "item a0", 1.0, 1.0) for number in range(200)]
    sold = pa.table(dict(zip(PURCHASES, zip(*yesterday, strict=True), strict=True)), lines.schema)

    trained = predictor.rates(questions)[0]
    predictor.read_sales([lines])
    again = predictor.rates(questions)[0]
    predictor.read_sales([lines, sold])
    later = predictor.rates(questions)[0]

    np.testing.assert_array_equal(again, trained)
    assert list(np.flatnonzero(later > 2 * trained)) == [checkpoint.catalogue.index["item a0"]]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "vocabulary.json", "catalogue.parquet", "calibration.json", "prompt_format.json"]
)
def test_one_flipped_byte_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        load_checkpoint(folder)


def test_a_missing_file_and_a_folder_of_something_else_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()

    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        load_checkpoint(tmp_path)


def test_training_state_comes_back_without_running_code(tmp_path: Path) -> None:
    state = {
        "a": {0: torch.arange(3), "groups": [{"lr": 1e-3, "betas": [0.9, 0.95], "none": None}]},
        "dtype": torch.float32,
    }

    save_state(state, tmp_path, "state")
    loaded = load_state(tmp_path, "state")

    assert torch.equal(loaded["a"].pop(0), state["a"].pop(0))
    assert loaded == state


def test_calibration_finds_the_curve_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    rates = 20 * rng.dirichlet(np.full(50, 0.1), 8_000)
    true = Curve(slope=0.8, bend=0.4, level=-0.5, span=0.3)
    windows = [7, 28]

    fitted = fit_curve(
        [rates, rates], [rng.random(rates.shape) < true.chance(rates, days) for days in windows], windows
    )

    found = [fitted.slope, fitted.bend, fitted.level, fitted.span]
    assert found == pytest.approx([0.8, 0.4, -0.5, 0.3], abs=0.04)


def test_a_chance_is_that_of_at_least_one_event_of_a_poisson_process() -> None:
    chances = Calibration().next_order.chance(np.array([0.0, 0.01, 2.0, 1e6]), 0)

    assert chances == pytest.approx([0, 1 - np.exp(-0.01), 1 - np.exp(-2.0), 1], abs=1e-8)


def test_transformers_loads_the_export_with_equal_hidden_states(
    checkpoint: Checkpoint, shop: Dataset, tmp_path: Path
) -> None:
    export_hf(checkpoint, tmp_path / "hf")
    predictor = Predictor(checkpoint)
    prompt = predictor.renderer.prompt(next(iter(shop.customers())), AS_OF)
    states: list[torch.Tensor] = []
    hook = predictor.model.head.norm.register_forward_hook(lambda *call: states.append(call[2]))
    with torch.no_grad():
        predictor.model(Batch.from_prompts([prompt]))
        hook.remove()
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").gpt_neox(torch.tensor(prompt.tokens[None]))

    torch.testing.assert_close(theirs.last_hidden_state[0, prompt.queries], states[0], atol=1e-4, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer.convert_tokens_to_ids("<item:item a0>") == checkpoint.vocabulary.item(0)
    assert len(tokenizer) == len(checkpoint.vocabulary)
    # vLLM takes every file of weights beside the model's for a part of it.
    assert [each.name for each in (tmp_path / "hf").glob("*.safetensors")] == ["model.safetensors"]
    assert {each.name for each in (tmp_path / "hf" / "demandcast").iterdir()} == {
        "head.safetensors",
        "calibration.json",
    }


def test_an_exported_head_scores_the_items_that_sold(checkpoint: Checkpoint) -> None:
    table = checkpoint.catalogue.table
    orders = pa.array([0, *table["orders"].to_pylist()[1:]])
    known = Catalogue(table.set_column(table.column_names.index("orders"), "orders", orders))

    written = written_weights(replace(checkpoint, catalogue=known))[LANGUAGE_HEAD]

    scored = written[checkpoint.vocabulary.first_item :].any(1)
    assert scored.tolist() == (known.orders > 0).tolist()
