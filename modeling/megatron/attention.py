"""Core attention by PyTorch's scaled_dot_product_attention, in place of Megatron's local one.

Shapes: T tokens of all sequences in a row, N heads, G query groups, H head width; S sequences side by side, Q queries
and K keys of each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from inspect import signature
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from modeling.batch import Batch
from modeling.blocks import attention_by_blocks
from modeling.megatron.context import Split
from modeling.megatron.rotary import Rotation

BY_BLOCKS = range(256, 2_049)
"""Sequences of these lengths are trained block by block on a CPU: shorter ones gain nothing, and longer ones keep more
scores than a layer keeps of all else."""


@dataclass
class Packing(PackedSeqParams):
    """What a layer's attention must know of a batch, on the host as well, so that no layer waits for the device.

    Attributes:
        lengths: of the sequences.
        rotation: of queries and keys, where positions are rotary.
        split: of the tokens, where several processes share them.
        asked_R: positions in ascending order, where nothing but these is wanted of the last layer.
    """

    lengths: tuple[int, ...] = ()
    rotation: Rotation | None = None
    split: Split | None = None
    asked_R: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch, rotation: Rotation | None, split: Split | None, asked_R: Tensor | None) -> "Packing":
        """The packing of a batch."""
        return cls(
            qkv_format="thd",
            cu_seqlens_q=batch.starts_S1,
            cu_seqlens_kv=batch.starts_S1,
            max_seqlen_q=batch.longest,
            max_seqlen_kv=batch.longest,
            lengths=batch.lengths,
            rotation=rotation,
            split=split,
            asked_R=asked_R,
        )


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
        self.is_last = layer_number == config.num_layers


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
        packed_seq_params: Packing,
    ) -> Tensor:
        """(T, N, H), (T, G, H), (T, G, H) -> (T, N * H); of the last layer (R, N * H) where something is asked."""
        asked_R = packed_seq_params.asked_R if self.is_last else None
        if packed_seq_params.rotation:
            query, key = packed_seq_params.rotation(query), packed_seq_params.rotation(key)
        dropout = self.dropout if self.training else 0.0
        if packed_seq_params.split:
            return self._of_chunks(query, key, value, packed_seq_params.lengths, packed_seq_params.split, dropout)
        if not dropout and query.is_cuda and has_flash_attention(query.shape[-1], query.dtype):
            starts, longest = packed_seq_params.cu_seqlens_q, packed_seq_params.max_seqlen_q
            grouped = {"enable_gqa": True} if query.shape[1] != key.shape[1] and _asks_for_groups() else {}
            output = _varlen_attention()(
                query,
                key,
                value,
                starts,
                starts,
                longest,
                longest,
                scale=self.scale,
                window_size=(-1, 0),  # causal
                **grouped,
            )
            return cast(Tensor, output if asked_R is None else output[asked_R]).flatten(1)
        if asked_R is not None:
            return self._of_asked(query, key, value, packed_seq_params, asked_R, dropout)
        lengths = packed_seq_params.lengths
        outputs = [
            self._of_one(query_tnh.transpose(0, 1), key_tgh.transpose(0, 1), value_tgh.transpose(0, 1), dropout)
            for query_tnh, key_tgh, value_tgh in zip(
                query.split(lengths), key.split(lengths), value.split(lengths), strict=True
            )
        ]
        return torch.cat(outputs).flatten(1)

    def _of_asked(
        self, query: Tensor, key: Tensor, value: Tensor, packing: Packing, asked_R: Tensor, dropout: float
    ) -> Tensor:
        """Of these queries alone: (T, N, H), (T, G, H), (T, G, H) -> (R, N * H)."""
        places = torch.searchsorted(asked_R, packing.cu_seqlens_q.to(asked_R.dtype)).tolist()
        outputs = []
        for (start, end), (first, last) in zip(
            pairwise(accumulate(packing.lengths, initial=0)), pairwise(places), strict=True
        ):
            if first == last:
                continue
            mine_R = asked_R[first:last]
            seen = torch.arange(start, end, device=query.device) <= mine_R[:, None]
            output: Tensor = scaled_dot_product_attention(
                query[mine_R].transpose(0, 1)[None],
                key[start:end].transpose(0, 1)[None],
                value[start:end].transpose(0, 1)[None],
                attn_mask=seen,
                dropout_p=dropout,
                scale=self.scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )
            outputs.append(output[0].transpose(0, 1))
        return torch.cat(outputs).flatten(1)

    def _of_chunks(
        self, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], split: Split, dropout: float
    ) -> Tensor:
        """This process's queries, to the keys of all processes: (C, N, H), (C, G, H), (C, G, H) -> (C, N * H)."""
        key_gth, value_gth = split.gather(key).transpose(0, 1), split.gather(value).transpose(0, 1)
        query_nth, outputs, place = query.transpose(0, 1), [], 0
        for first, last in split.chunks:
            for start, end in pairwise(accumulate(lengths, initial=0)):
                begin, stop = max(first, start), min(last, end)
                if begin >= stop:
                    continue
                queries, keys = stop - begin, stop - start
                seen = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
                output: Tensor = scaled_dot_product_attention(
                    query_nth[None, :, place : place + queries],
                    key_gth[None, :, start:stop],
                    value_gth[None, :, start:stop],
                    attn_mask=seen,
                    dropout_p=dropout,
                    scale=self.scale,
                    enable_gqa=len(query_nth) != len(key_gth),
                )
                outputs.append(output[0].transpose(0, 1))
                place += queries
        return torch.cat(outputs).flatten(1)

    def _of_one(self, query_nth: Tensor, key_gth: Tensor, value_gth: Tensor, dropout: float) -> Tensor:
        """One sequence's, (t, N, H)."""
        if _trains_on_cpu(query_nth) and query_nth.shape[1] in BY_BLOCKS and not dropout:
            scale = self.scale or query_nth.shape[2] ** -0.5
            return attention_by_blocks(query_nth, key_gth, value_gth, scale).transpose(0, 1)
        output: Tensor = scaled_dot_product_attention(
            query_nth[None],  # the fused kernels want a batch dimension
            key_gth[None],
            value_gth[None],
            is_causal=True,
            dropout_p=dropout,
            scale=self.scale,
            enable_gqa=len(query_nth) != len(key_gth),
        )
        return output[0].transpose(0, 1)


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


def _trains_on_cpu(query: Tensor) -> bool:
    return query.requires_grad and query.device.type == "cpu" and query.dtype == torch.float32


def has_flash_attention(width: int, dtype: torch.dtype) -> bool:
    """Whether PyTorch's attention over packed sequences, one kernel for all of them, knows such heads on this GPU."""
    half = dtype in (torch.bfloat16, torch.float16)
    return half and width % 8 == 0 and width <= 192 and _is_ampere_or_later()


def _varlen_attention() -> Callable[..., Any]:
    from torch.nn.attention.varlen import varlen_attn  # loads a compiler, which only a GPU is worth

    return cast(Callable[..., Any], varlen_attn)


@cache
def _asks_for_groups() -> bool:
    """Whether it must be told that heads share keys; PyTorch 2.11 saw that for itself."""
    return "enable_gqa" in signature(_varlen_attention()).parameters


@cache
def _is_ampere_or_later() -> bool:
    return torch.cuda.get_device_capability() >= (8, 0)
