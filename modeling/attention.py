"""Core attention over packed sequences by PyTorch's scaled_dot_product_attention, in place of Megatron's local one.

Shapes: T tokens of all sequences in a row, N heads, G query groups, H head width.
"""

from typing import Any

import torch
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class PackedAttention(MegatronModule):
    """Causal attention within each of the packed sequences; no sequence is padded and none sees another."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        cp_comm_type: str | None = None,
        pg_collection: Any = None,
    ) -> None:
        super().__init__(config=config)
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout
        self.scale = softmax_scale

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: Tensor | None = None,
        *,
        packed_seq_params: PackedSeqParams,
    ) -> Tensor:
        """(T, N, H), (T, G, H), (T, G, H) -> (T, N * H)."""
        lengths = packed_seq_params.cu_seqlens_q.diff().tolist()
        outputs = [
            scaled_dot_product_attention(
                query_tnh.transpose(0, 1)[None],  # the fused kernels want a batch dimension
                key_tgh.transpose(0, 1)[None],
                value_tgh.transpose(0, 1)[None],
                is_causal=True,
                dropout_p=self.dropout if self.training else 0.0,
                scale=self.scale,
                enable_gqa=query_tnh.shape[1] != key_tgh.shape[1],
            )[0].transpose(0, 1)
            for query_tnh, key_tgh, value_tgh in zip(
                query.split(lengths), key.split(lengths), value.split(lengths), strict=True
            )
        ]
        return torch.cat(outputs).flatten(1)
