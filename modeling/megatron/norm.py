"""PyTorch's normalisations for Megatron-core's layers, also where tokens are split over processes."""

from typing import Any

from megatron.core.transformer.transformer_config import TransformerConfig
from torch import nn


class Norm:
    """nn.LayerNorm or nn.RMSNorm, as the configuration says.

    Megatron's own wrapper refuses sequence parallelism, for which nothing is missing but a mark: the parameters see
    some of the tokens on each process, and Megatron adds up the gradients of what is so marked.
    """

    def __new__(cls, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> Any:
        kind = nn.RMSNorm if config.normalization == "RMSNorm" else nn.LayerNorm
        norm = kind(hidden_size, eps=eps)
        for parameter in norm.parameters():
            parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]
        return norm
