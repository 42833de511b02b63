"""Core attention by PyTorch's scaled_dot_product_attention, in place of Megatron's local one.

Shapes: T tokens of all sequences in a row, N heads, G query groups, H head width; S sequences side by side, Q queries
and K keys of each.
"""

from typing import Any

import torch
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class _Attention(MegatronModule):
    """What Megatron's layers build as their core attention."""

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


class PackedAttention(_Attention):
    """Causal attention within each of the packed sequences; no sequence is padded and none sees another."""

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


class MaskedAttention(_Attention):
    """Attention of sequences side by side: an encoder's to what the mask leaves, a decoder's to the encoder."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: PackedSeqParams | None = None,
    ) -> Tensor:
        """(Q, S, N, H), (K, S, N, H), (K, S, N, H) -> (Q, S, N * H).

        Args:
            attention_mask: (S, 1, 1 or Q, K), true where a key is hidden, as Megatron has it.
            attention_bias: (1, N, Q, K), added to the scores.
        """
        bias = attention_bias
        if attention_mask is not None:
            hidden = query.new_zeros(attention_mask.shape).masked_fill(attention_mask, -torch.inf)
            bias = hidden if bias is None else bias + hidden
        output_snqh = scaled_dot_product_attention(
            query.permute(1, 2, 0, 3),
            key.permute(1, 2, 0, 3),
            value.permute(1, 2, 0, 3),
            attn_mask=None if bias is None else bias.to(query.dtype),
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        return output_snqh.permute(2, 0, 1, 3).flatten(2)
