"""Export: a folder that Hugging Face transformers loads.

GPT-NeoX without parallel residuals is layer for layer the model of modeling.model (rotary positions, pre-layer norms,
GELU, query-key-value interleaved by head), so weights are renamed, not changed. What transformers has no place for
(copying, item biases, calibration) lies beside, in demand_head.safetensors and calibration.json.
"""

import re
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from demand.vocabulary import CONTROL
from modeling.checkpoint import Checkpoint

LAYER_NAMES = {
    "self_attention.linear_qkv": "attention.query_key_value",
    "self_attention.linear_proj": "attention.dense",
    "input_layernorm": "input_layernorm",
    "pre_mlp_layernorm": "post_attention_layernorm",
    "mlp.linear_fc1": "mlp.dense_h_to_4h",
    "mlp.linear_fc2": "mlp.dense_4h_to_h",
}


def export_hf(checkpoint: Checkpoint, out: Path) -> None:
    """Writes config, weights and tokenizer to `out`, made if it is not there.

    The hidden states of the exported model equal ours. Its language-model head gives the vocabulary part of the
    mixture over item tokens, without their biases: GPT-NeoX's head has none.
    """
    model = GPTNeoXForCausalLM(_config(checkpoint))
    weights = checkpoint.weights
    embeddings = weights["gpt.embedding.word_embeddings.weight"]
    renamed = {"gpt_neox.embed_in.weight": embeddings, "lm_head.weight": _language_model_head(checkpoint)}
    renamed |= {f"gpt_neox.final_layer_norm.{part}": weights[f"head.norm.{part}"] for part in ("weight", "bias")}
    for name, tensor in weights.items():
        if found := re.fullmatch(r"gpt\.decoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            layer, part, kind = found.groups()
            renamed[f"gpt_neox.layers.{layer}.{LAYER_NAMES[part]}.{kind}"] = tensor
    model.load_state_dict(renamed)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    _tokenizer(checkpoint).save_pretrained(out)
    head = {name: tensor.contiguous() for name, tensor in weights.items() if name.startswith("head.")}
    save_file(head, out / "demand_head.safetensors")
    (out / "calibration.json").write_text(checkpoint.calibration.model_dump_json(indent=2))


def _config(checkpoint: Checkpoint) -> GPTNeoXConfig:
    settings = checkpoint.settings
    return GPTNeoXConfig(
        vocab_size=len(checkpoint.vocabulary),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.ffn,
        hidden_act="gelu",
        use_parallel_residual=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
        max_position_embeddings=2 * checkpoint.prompt_format.history_tokens,
        tie_word_embeddings=False,
        bos_token_id=checkpoint.vocabulary.control["<start>"],
        eos_token_id=checkpoint.vocabulary.control["<start>"],
    )


def _language_model_head(checkpoint: Checkpoint) -> torch.Tensor:
    """(vocabulary, D): rows of item tokens score items, all others are zero."""
    embeddings = checkpoint.weights["gpt.embedding.word_embeddings.weight"]
    head = torch.zeros_like(embeddings)
    first = checkpoint.vocabulary.first_item
    head[first:] = embeddings[first:] @ checkpoint.weights["head.vocabulary_query.weight"]
    return head


def _tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerFast:
    """The text tokenizer with the control and item tokens added in the order of their ids."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=checkpoint.vocabulary.tokenizer)
    added = [*CONTROL, *(f"<item:{item}>" for item in checkpoint.catalogue.item_ids)]
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in added])
    return tokenizer
