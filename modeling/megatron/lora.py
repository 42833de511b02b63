"""Low-rank adaptation (LoRA; Hu et al., 2021): each matrix W of a layer learns by a product of two thin ones, B A.

Weights of the pretrained model stay as they are. What is new learns whole: the demand head, and the embeddings of
control tokens and items. A checkpoint holds W + alpha / rank * B A, so that nothing that reads one knows of this.

Shapes: O outputs, I inputs, r rank. Under tensor parallelism a matrix that is split by rows splits B, one that is split
by columns splits A.
"""

from collections.abc import Mapping
from typing import Any

import torch
from megatron.core.tensor_parallel import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
    reduce_from_tensor_model_parallel_region,
    reduce_scatter_to_sequence_parallel_region,
)
from megatron.core.tensor_parallel.layers import set_tensor_model_parallel_attributes
from megatron.core.transformer.mlp import apply_swiglu_sharded_factory
from megatron.core.transformer.utils import make_sharded_tensors_for_checkpoint
from torch import Tensor, nn

from modeling.megatron.linear import Column, Row
from modeling.settings import LoraSettings

A, B = "lora_a", "lora_b"


class LoraColumn(Column):
    """Megatron's matrix split by rows, whose own weights stay as they are."""

    def __init__(self, input_size: int, output_size: int, *, config: Any, **options: Any) -> None:
        super().__init__(input_size, output_size, config=config, **options)
        self.lora: LoraSettings = config.lora
        self.gated = config.gated_linear_unit and options.get("tp_comm_buffer_name") == "fc1"
        self.lora_a = _first_factor(self.lora.rank, input_size, self.weight)
        self.lora_a.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]
        self.lora_b = nn.Parameter(self.weight.new_zeros(self.output_size_per_partition, self.lora.rank))
        set_tensor_model_parallel_attributes(self.lora_b, True, 0, 1)

    def forward(self, input_: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
        """Megatron's forward pass, and the product's."""
        output, bias = super().forward(input_, *arguments, **options)
        thin = input_ @ self.lora_a.T
        if self.config.sequence_parallel:
            thin = gather_from_sequence_parallel_region(thin)  # whose backward pass adds up over processes
        else:
            thin = copy_to_tensor_model_parallel_region(thin)
        return output + self.lora.scale * (thin @ self.lora_b.T), bias

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple[()] = (), metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """As Megatron's, with B split like the weight; of a gate and what it gates, each part."""
        split = {"weight": 0, "bias": 0, B: 0}
        state = _sharded(self, prefix, split, sharded_offsets, metadata)
        if self.gated:
            key = f"{prefix}{B}"
            state[key] = apply_swiglu_sharded_factory(state[key], sharded_offsets, singleton_local_shards=True)
        return state


class LoraRow(Row):
    """Megatron's matrix split by columns, whose own weights stay as they are."""

    def __init__(self, input_size: int, output_size: int, *, config: Any, **options: Any) -> None:
        super().__init__(input_size, output_size, config=config, **options)
        self.lora: LoraSettings = config.lora
        whole = _first_factor(self.lora.rank, input_size, self.weight)
        columns = self.input_size_per_partition
        first = self.tp_group.rank() * columns
        self.lora_a = nn.Parameter(whole.data[:, first : first + columns].clone())
        set_tensor_model_parallel_attributes(self.lora_a, True, 1, 1)
        self.lora_b = nn.Parameter(self.weight.new_zeros(output_size, self.lora.rank))
        self.lora_b.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, input_: Tensor) -> tuple[Tensor, Tensor | None]:
        """Megatron's forward pass, and the product's."""
        output, bias = super().forward(input_)
        thin = input_ @ self.lora_a.T
        if self.config.sequence_parallel:
            thin = reduce_scatter_to_sequence_parallel_region(thin)
        else:
            thin = reduce_from_tensor_model_parallel_region(thin)
        return output + self.lora.scale * (thin @ self.lora_b.T), bias

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple[()] = (), metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """As Megatron's, with A split like the weight."""
        return _sharded(self, prefix, {"weight": 1, A: 1}, sharded_offsets, metadata)


def freeze(model: nn.Module, words: nn.Parameter | None, first_row: int, first_new: int) -> None:
    """Leaves to learn what LoRA learns: its factors, head, calendar, and the embeddings from row `first_new` on.

    Args:
        words: the embeddings that this process holds, from row `first_row` on, if it holds any.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.endswith((A, B)) or name.startswith(("head.", "calendar.")) or parameter is words
    if words is not None:
        new = first_row + torch.arange(len(words)) >= first_new
        words.register_hook(lambda gradient: gradient * new[:, None].to(gradient))


def merged(weights: Mapping[str, Tensor], lora: LoraSettings) -> dict[str, Tensor]:
    """Plain weights: each matrix with its product added."""
    plain = {name: tensor for name, tensor in weights.items() if not name.endswith((A, B))}
    for name in weights:
        if name.endswith(A):
            layer = name.removesuffix(A)
            product = weights[f"{layer}{B}"].float() @ weights[name].float()
            plain[f"{layer}weight"] = (plain[f"{layer}weight"] + lora.scale * product).to(plain[f"{layer}weight"])
    return plain


def _first_factor(rank: int, inputs: int, like: Tensor) -> nn.Parameter:
    """A as the paper's code starts it, so that B A is zero as B is; the same on every process."""
    factor = torch.empty(rank, inputs)
    nn.init.kaiming_uniform_(factor, a=5**0.5)
    return nn.Parameter(factor.to(like))


def _sharded(
    module: Any, prefix: str, split: dict[str, int], offsets: tuple[()], metadata: dict[str, Any] | None
) -> dict[str, Any]:
    state: dict[str, Any] = make_sharded_tensors_for_checkpoint(
        module.state_dict(prefix="", keep_vars=True),
        prefix,
        split,
        offsets,
        tp_group=module.tp_group,
        dp_cp_group=(metadata or {})["dp_cp_group"],
    )
    return state
