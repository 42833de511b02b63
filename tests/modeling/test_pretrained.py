"""Pretrained weights: a Megatron model computes what transformers computes, coming in and going out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    T5Config,
)

from demand.catalogue import Catalogue
from demand.errors import CheckpointError
from demand.vocabulary import CONTROL, Vocabulary
from modeling.checkpoint import load_checkpoint, save_checkpoint
from modeling.export import export_hf
from modeling.megatron.model import DemandModel, initialize_from_catalogue
from modeling.megatron.shards import load_weights, whole_weights
from modeling.pretrained import import_hf
from tests.conftest import plain_text

ROWS = 320
"""More rows than the tokenizer has tokens, as many pretrained models have."""
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 2, "vocab_size": ROWS}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
T5 = {"d_model": 32, "d_kv": 6, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": ROWS}
CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(n_layer=2, n_embd=32, n_head=4, n_positions=64, vocab_size=ROWS),
    "gpt_neox": GPTNeoXConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        vocab_size=ROWS,
        use_parallel_residual=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
    ),
    "llama": LlamaConfig(**LLAMA),
    "llama-tied": LlamaConfig(**LLAMA, tie_word_embeddings=True),
    "llama-3": LlamaConfig(**LLAMA, rope_parameters={**LLAMA3, "original_max_position_embeddings": 8_192}),
    "qwen2": Qwen2Config(**LLAMA, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "qwen3": Qwen3Config(**LLAMA, head_dim=16),
    "t5": T5Config(**T5),
    "flan-t5": T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
}


def kind(config: PretrainedConfig) -> Any:
    """transformers' loader of a family."""
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def logits_of(model: Any, tokens: np.ndarray) -> torch.Tensor:
    """After each token, (T, B); of an encoder and decoder, what follows the last token, given those before, (1, B)."""
    inputs = torch.as_tensor(tokens[None])
    if not model.config.is_encoder_decoder:
        return model(inputs).logits[0]
    return model(input_ids=inputs[:, :-1], decoder_input_ids=inputs[:, -1:]).logits[0]


def write_pretrained(config: PretrainedConfig, folder: Path, **options: Any) -> Path:
    """A folder as the hub has them, with random weights that give every part of the model its say."""
    torch.manual_seed(0)
    model = kind(config).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder, **options)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["what is wanted next"] * 9, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)  # noqa: S106
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_transformers(name: str, tmp_path: Path) -> None:
    theirs = kind(CONFIGS[name]).from_pretrained(write_pretrained(CONFIGS[name], tmp_path / "hf")).eval()

    save_checkpoint(import_hf(str(tmp_path / "hf")), tmp_path / "base")
    base = load_checkpoint(tmp_path / "base")

    model = DemandModel(base.settings, len(base.vocabulary), 0).eval()
    load_weights(model, base.weights)
    tokens = np.random.default_rng(0).integers(0, ROWS, 40)
    with torch.no_grad():
        ours = model.next_token_logits(plain_text(tokens))[:, :ROWS]
        expected = logits_of(theirs, tokens)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    assert ours.std() > 0.1


@pytest.mark.parametrize("name", CONFIGS)
def test_what_came_in_goes_out_with_equal_logits_and_the_catalogues_tokens(
    name: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    theirs = kind(CONFIGS[name]).from_pretrained(write_pretrained(CONFIGS[name], tmp_path / "hf")).eval()
    base = import_hf(str(tmp_path / "hf"))
    vocabulary = Vocabulary(base.vocabulary.tokenizer, len(catalogue), base.vocabulary.first_control)
    model = DemandModel(base.settings, len(vocabulary), len(catalogue)).eval()
    load_weights(model, base.weights, new=True)
    initialize_from_catalogue(model, vocabulary, catalogue)

    export_hf(
        type(base)(base.settings, base.prompt_format, vocabulary, catalogue, whole_weights(model), base.calibration),
        tmp_path / "out",
    )

    again = kind(CONFIGS[name]).from_pretrained(tmp_path / "out").eval()
    tokens = np.random.default_rng(0).integers(0, ROWS, 40)
    with torch.no_grad():
        logits = logits_of(again, tokens)
        torch.testing.assert_close(logits[:, :ROWS], logits_of(theirs, tokens), atol=1e-4, rtol=1e-4)
    assert logits.shape[1] == ROWS + len(CONTROL) + len(catalogue)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "out")
    assert tokenizer.convert_tokens_to_ids("<item:item a0>") == vocabulary.item(0)
    assert tokenizer("what is wanted").input_ids == vocabulary.text("what is wanted")


def test_an_item_token_starts_from_its_names_tokens(catalogue: Catalogue, tmp_path: Path) -> None:
    base = import_hf(str(write_pretrained(CONFIGS["llama"], tmp_path / "hf")))
    vocabulary = Vocabulary(base.vocabulary.tokenizer, len(catalogue), base.vocabulary.first_control)
    model = DemandModel(base.settings, len(vocabulary), len(catalogue))
    load_weights(model, base.weights, new=True)
    before = model.item_embeddings_VD[0].detach().clone()

    initialize_from_catalogue(model, vocabulary, catalogue)

    rows = base.weights["gpt.embedding.word_embeddings.weight"][vocabulary.text(f" {catalogue.names[0].lower()},")]
    torch.testing.assert_close(model.item_embeddings_VD[0].detach() - before, rows.mean(0), atol=1e-5, rtol=1e-5)


def test_a_tokenizers_own_control_token_in_a_text_stays_text(tmp_path: Path) -> None:
    vocabulary = import_hf(str(write_pretrained(CONFIGS["gpt2"], tmp_path / "hf"))).vocabulary

    end = vocabulary.tokenizer.token_to_id("<|end|>")
    assert end is not None
    assert end not in vocabulary.text("nothing <|end|> more")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (LlamaConfig(**LLAMA, attention_bias=True), "attention_bias=True"),
        (LlamaConfig(**LLAMA, hidden_act="gelu"), "hidden_act=gelu"),
        (LlamaConfig(**LLAMA, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}), "linear"),
        (LlamaConfig(**LLAMA, rope_parameters={**LLAMA3, "original_max_position_embeddings": 4_096}), "4096"),
        (GPT2Config(n_layer=1, n_embd=32, n_head=2, scale_attn_by_inverse_layer_idx=True), "inverse_layer_idx"),
        (GPT2Config(n_layer=1, n_embd=32, n_head=2, activation_function="relu"), "relu"),
        (GPTNeoXConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2), "use_parallel_residual=True"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(config: PretrainedConfig, named: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=named):
        import_hf(str(write_pretrained(config, tmp_path / "hf")))


def test_other_families_other_folders_and_pickles_are_refused(tmp_path: Path) -> None:
    BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=1, n_head=2)).save_pretrained(tmp_path / "bloom")
    (tmp_path / "empty").mkdir()
    pickled = write_pretrained(CONFIGS["gpt2"], tmp_path / "pickled")
    weights = pickled / "model.safetensors"
    torch.save({}, pickled / "pytorch_model.bin")
    weights.unlink()

    for folder, named in (("bloom", "family 'bloom'"), ("empty", "cannot be imported"), ("pickled", "cannot be")):
        with pytest.raises(CheckpointError, match=named) as error:
            import_hf(str(tmp_path / folder))
        assert "\n" not in str(error.value)
