"""NVIDIA's legacy Megatron-LM GPT-2, such as its 345M checkpoint: a GPT-2 under other names.

What a file leaves open, since the oldest hold no arguments, is taken as the 345M checkpoint has it: heads of 64 (16 of
them), layer norms with epsilon 1e-5, and the tanh approximation of GELU. Sources of the layouts: Megatron-LM's
checkpointing.py (fix_query_key_value_ordering) and transformers' convert_megatron_gpt2_checkpoint.py.
"""

import re
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from demand.errors import CheckpointError
from modeling.counterpart import Counterpart, Pretrained, both, refuse
from modeling.families import ATTENTION, COUNTERPARTS, MLP, NORMS, PLACES
from modeling.legacy_files import read_files
from modeling.settings import ModelSettings
from modeling.weights import Renamed

VERSIONS = (0, 1.0, 2.0, 3.0)
HEAD_WIDTH = 64
"""Of the 345M model, where a file does not say how many heads there are."""
EXPECTED = {
    "tensor_model_parallel_size": 1,
    "pipeline_model_parallel_size": 1,
    "model_parallel_size": 1,
    "position_embedding_type": "learned_absolute",
    "normalization": "LayerNorm",
    "apply_layernorm_1p": False,
    "apply_residual_connection_post_layernorm": False,
    "swiglu": False,
    "squared_relu": False,
    "group_query_attention": False,
    "num_experts": None,
}
"""Arguments under which the parameters have these names, and Megatron-LM computed what a GPT-2 does."""
LAYER = re.compile(r"\.layers\.(\d{1,9})\.")
WORDS = "language_model.embedding.word_embeddings.weight"
POSITIONS = "language_model.embedding.position_embeddings.weight"


def read_legacy(path: Path) -> Pretrained:
    """A legacy checkpoint under its file's names, but with queries, keys and values in Megatron-core's order.

    Args:
        path: a folder or a zip that holds release/mp_rank_00/model_optim_rng.pt (or iter_…/mp_rank_00/…, or
            mp_rank_00/…). GPT-2's tokenizer files lie inside or beside.

    Raises:
        CheckpointError: it cannot be read, wants to run code, is split over ranks, has no tokenizer, or a Megatron
            model would compute something else.
    """
    content, tokenizer = read_files(path)
    args, version = content.get("args", Namespace()), content.get("checkpoint_version", 0)
    if not isinstance(version, int | float) or version not in VERSIONS:
        raise CheckpointError(f"{path} has checkpoint_version {version}: known are {', '.join(map(str, VERSIONS))}")
    theirs = dict(_tensors(content.get("model"), path))
    if not isinstance(args, Namespace) or any(
        name not in theirs or theirs[name].dim() != 2 for name in (WORDS, POSITIONS)
    ):
        raise CheckpointError(f"{path} holds no legacy GPT-2: it lacks {WORDS} or {POSITIONS}, or its args are none")
    if tokenizer.get_vocab_size() > len(theirs[WORDS]):
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model only {len(theirs[WORDS])}"
        )
    settings = _settings(args, theirs, path)
    ordered = {name: _ordered(name, tensor, version, settings.heads) for name, tensor in theirs.items()}
    parameters = sum(tensor.numel() for tensor in ordered.values())
    return Pretrained(_counterpart(theirs), settings, ordered, tokenizer, parameters)


def _tensors(tree: Any, path: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of nested dictionaries, in single precision, under the keys that lead to it."""
    unread = [("", tree)]
    while unread:
        name, value = unread.pop()
        if isinstance(value, dict) and name.count(".") < 16:  # a pickle can hold a dictionary that holds itself
            unread += [(f"{name}.{key}" if name else str(key), each) for key, each in value.items()]
        elif isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided:
            yield name, value.detach().float()
        else:
            raise CheckpointError(f"{path}: model.{name} is a {type(value).__name__}, not a tensor of weights")


def _counterpart(theirs: dict[str, Tensor]) -> Counterpart:
    """GPT-2's, under the names of this file: newer ones call the layers an encoder, and attention self_attention."""
    stack = "encoder" if any(name.startswith("language_model.encoder.") for name in theirs) else "transformer"
    layer = f"language_model.{stack}.layers.{{layer}}."
    attention = layer + ("self_attention" if any(".self_attention." in name for name in theirs) else "attention")
    layers = (
        *both(NORMS[0], f"{layer}input_layernorm"),
        *both(f"{ATTENTION}linear_qkv", f"{attention}.query_key_value"),
        *both(f"{ATTENTION}linear_proj", f"{attention}.dense"),
        *both(NORMS[1], f"{layer}post_attention_layernorm"),
        *both(f"{MLP}linear_fc1", f"{layer}mlp.dense_h_to_4h"),
        *both(f"{MLP}linear_fc2", f"{layer}mlp.dense_4h_to_h"),
    )
    norm = both("head.norm", f"language_model.{stack}.final_layernorm")
    return replace(COUNTERPARTS["gpt2"], words=WORDS, once=(Renamed(PLACES, POSITIONS), *norm), layers=layers)


def _settings(args: Namespace, theirs: dict[str, Tensor], path: Path) -> ModelSettings:
    """The shape, from the parameters' shapes; from the arguments what shapes do not show."""
    args.model_type = "a legacy GPT-2"  # for the sentence of a refusal
    refuse(args, **EXPECTED)
    places, hidden = theirs[POSITIONS].shape
    layers = 1 + max((int(found[1]) for name in theirs if (found := LAYER.search(name))), default=-1)
    if getattr(args, "num_layers", layers) != layers:  # else nothing would tell that the last ones are missing
        raise CheckpointError(f"{path} holds {layers} layers, but should hold {args.num_layers}")
    heads = getattr(args, "num_attention_heads", None)
    if heads is None and hidden % HEAD_WIDTH:
        raise CheckpointError(
            f"{path} does not say how many heads there are, nor is {hidden} a multiple of {HEAD_WIDTH}"
        )
    inner = [tensor for name, tensor in theirs.items() if name.endswith(".0.mlp.dense_h_to_4h.bias")]
    exact = not getattr(args, "bias_gelu_fusion", True) and not getattr(args, "openai_gelu", False)
    try:
        return ModelSettings.model_validate(
            {
                "family": "gpt2",
                "layers": layers,
                "hidden": hidden,
                "heads": heads or hidden // HEAD_WIDTH,
                "ffn": inner[0].numel() if inner else 4 * hidden,
                "dropout": getattr(args, "hidden_dropout", 0.1),
                "norm_epsilon": getattr(args, "layernorm_epsilon", 1e-5),
                "activation": "gelu" if exact else "gelu_tanh",  # the fused kernel computes the approximation
                "positions": "learned",
                "places": places,
                "language_head": "tied",
            }
        )
    except ValidationError as error:
        raise CheckpointError(f"{path}: {error.errors()[0]['msg']} {error.errors()[0]['loc']}") from None


def _ordered(name: str, rows: Tensor, version: Any, heads: int) -> Tensor:
    """Rows of queries, keys and values as Megatron-core has them, (heads, 3, width); other parameters as they are."""
    if ".query_key_value." not in name or version >= 2:
        return rows
    if not rows.dim() or len(rows) % (3 * heads):
        raise CheckpointError(f"{name} has the shape {tuple(rows.shape)}, which does not fit {heads} heads")
    ordered: Tensor = (
        rows.unflatten(0, (3, heads, -1)).transpose(0, 1)  # from (3, heads, width)
        if version == 0
        else rows.unflatten(0, (heads, -1, 3)).transpose(1, 2)  # from (heads, width, 3)
    )
    return ordered.flatten(0, 2)
