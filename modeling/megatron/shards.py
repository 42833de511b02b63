"""The parts of a spread model: whole weights cut into this process's part, and training states that any layout reads.

Megatron-core's sharded state dicts say which part of which tensor a process holds; PyTorch's distributed checkpoint
writes the parts as safetensors and puts them together again in another layout. (Megatron's own files hold pickles.)
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.dist_checkpointing.dict_utils import (
    dict_list_map_inplace,
    extract_matching_values,
    merge,
    nested_values,
)
from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factory_merges, is_main_replica
from megatron.core.dist_checkpointing.state_dict_utils import load_preprocess, save_preprocess
from megatron.core.dist_checkpointing.strategies.torch import mcore_to_pyt_state_dict
from megatron.core.transformer.transformer_layer import get_transformer_layer_offset
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from demand.errors import CheckpointError
from modeling.megatron.lora import A, B, merged
from modeling.megatron.model import DemandModel, synchronize_embeddings

NAMED = {"singleton_local_shards": True, "distrib_optim_sharding_type": "fully_reshardable"}
"""Megatron's words for: every tensor under a name of its own, the optimizer's in the shape of the parameters."""
ITEM_BIAS = "head.item_bias"
LAYER = re.compile(r"(?<=\.layers\.)\d+(?=\.)")


def load_weights(model: DemandModel, weights: Mapping[str, Tensor], new: bool = False) -> None:
    """Puts whole weights into a model, each process its own part.

    Args:
        new: the weights are a pretrained model's, without a catalogue: rows of items, and the items' biases, stay.
            LoRA's factors stay in any case where none are given.

    Raises:
        CheckpointError: a parameter is missing or of another shape, or one is left over.
    """
    unread, words = set(weights), model.settings.words
    for name, parameter in model.named_parameters():
        whole = _whole_name(name, model)
        unread.discard(whole)
        if (new and whole == ITEM_BIAS) or (whole not in weights and whole.endswith((A, B))):
            continue
        if whole not in weights:
            raise CheckpointError(f"the weights hold no {whole}")
        expected = model.vocabulary_size - (model.item_count if new else 0)
        if whole == words and len(weights[words]) != expected:
            raise CheckpointError(f"the weights hold {len(weights[words])} tokens, the vocabulary {expected}")
        part = _part(parameter, weights[whole], whole, model)
        if part.shape[1:] != parameter.shape[1:] or (whole != words and part.shape != parameter.shape):
            raise CheckpointError(f"{whole} has the shape {tuple(weights[whole].shape)}, which does not fit the model")
        parameter.data[: len(part)] = part.to(parameter)
    if unread and parallel_state.get_pipeline_model_parallel_world_size() == 1:
        raise CheckpointError(f"the weights hold {min(unread)}, which the model has no place for")
    synchronize_embeddings(model)


def whole_weights(model: DemandModel) -> dict[str, Tensor]:
    """The inverse of load_weights, where one process holds the whole model; what LoRA learned is merged."""
    weights = {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}
    words = model.settings.words
    return merged({**weights, words: weights[words][: model.vocabulary_size]}, model.lora)


def _whole_name(name: str, model: DemandModel) -> str:
    """A parameter's name in a model that is not spread."""
    if name.startswith("output_words."):
        return model.settings.words
    offset = get_transformer_layer_offset(model.config)
    return LAYER.sub(lambda found: str(int(found[0]) + offset), name)


def _part(parameter: nn.Parameter, whole: Tensor, name: str, model: DemandModel) -> Tensor:
    """What this process holds of a parameter: rows or columns; of a gate and what it gates, rows of each."""
    rank, size = parallel_state.get_tensor_model_parallel_rank(), parallel_state.get_tensor_model_parallel_world_size()
    if name == model.settings.words:  # the last rows of all are padding
        return whole[rank * len(parameter) : (rank + 1) * len(parameter)]
    if size == 1 or not getattr(parameter, "tensor_model_parallel", False):
        return whole
    dim: int = parameter.partition_dim  # type: ignore[attr-defined]
    halves = whole.chunk(2) if model.config.gated_linear_unit and ".linear_fc1." in name else (whole,)
    return torch.cat([half.chunk(size, dim)[rank] for half in halves])


def save_shards(state: dict[str, Any], folder: Path) -> Any:
    """Writes this process's part of a training state, shard-*.safetensors. Every process of the group calls it.

    Args:
        state: nested dictionaries of Megatron's ShardedTensors and of plain values.

    Returns:
        The plain values, which are the same for all processes.
    """
    sharded, plain = save_preprocess(state)
    save(
        _described(sharded, is_loading=False),
        storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
        planner=DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
    )
    return plain


def load_shards(state: dict[str, Any], plain: Any, folder: Path) -> dict[str, Any]:
    """The inverse of save_shards, in any layout.

    Args:
        state: as given to save_shards, of this process.
        plain: what save_shards returned.

    Raises:
        CheckpointError: a tensor is missing or damaged.
    """
    sharded, local, factories = load_preprocess(state)
    sharded, _ = extract_matching_values(sharded, lambda each: isinstance(each, ShardedTensor))
    try:
        load(
            _described(sharded, is_loading=True),
            storage_reader=HuggingFaceStorageReader(str(folder)),
            planner=DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
        )
    except (CheckpointException, SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder}: {str(error).splitlines()[0]}") from None
    dict_list_map_inplace(lambda each: each.data, sharded)
    loaded: dict[str, Any] = apply_factory_merges(merge(merge(plain, local), sharded), factories)
    return loaded


def _described(state: dict[str, Any], is_loading: bool) -> dict[str, Any]:
    """What PyTorch's distributed checkpoint is told: each tensor by its name in the whole model, once."""
    tensors = {
        each.key: [each]
        for each in nested_values(state)
        if isinstance(each, ShardedTensor) and (is_loading or is_main_replica(each.replica_id))
    }
    described: dict[str, Any] = mcore_to_pyt_state_dict(tensors, is_loading)
    return described
