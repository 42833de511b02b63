"""Causal attention for training on a CPU: large products and a softmax over blocks of queries.

PyTorch's fused attention for CPUs recomputes the scores in its backward pass, in pieces of 32 queries and without a
matrix library's speed: it takes up to twice as long.

Shapes: N heads, G query groups, T tokens, H head width.
"""

from typing import Any

import torch
from torch import Tensor

from modeling.parallel import fast_forward

BLOCK = 128
"""Queries of a block. Scores that the causal mask hides are computed within a block only."""


def attention_by_blocks(query_NTH: Tensor, key_GTH: Tensor, value_GTH: Tensor, scale: float) -> Tensor:
    """What each query finds at its own place and before it, (N, T, H). The scores are kept for the backward pass."""
    repeats = len(query_NTH) // len(key_GTH)
    if repeats > 1:
        key_GTH, value_GTH = (each.repeat_interleave(repeats, 0) for each in (key_GTH, value_GTH))
    output: Tensor = _ByBlocks.apply(query_NTH, key_GTH, value_GTH, scale)  # type: ignore[no-untyped-call]
    return output


class _ByBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        query = query * scale
        output = torch.empty_like(query)
        hidden = torch.full((BLOCK, BLOCK), -torch.inf, dtype=query.dtype).triu(1)
        shares = []
        for begin, end in _blocks(query.shape[1]):
            scores = torch.bmm(query[:, begin:end], key[:, :end].mT)
            scores[:, :, begin:].add_(hidden[: end - begin, : end - begin])
            shares.append(scores.softmax(-1))
            output[:, begin:end] = torch.bmm(shares[-1], value[:, :end])
        ctx.save_for_backward(query, key, value, *shares)
        ctx.scale = scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *shares = ctx.saved_tensors
        with fast_forward():
            query_gradient = torch.empty_like(query)
            key_gradient, value_gradient = torch.zeros_like(query), torch.zeros_like(query)
            for (begin, end), share in zip(_blocks(query.shape[1]), shares, strict=True):
                here = gradient[:, begin:end]
                value_gradient[:, :end].baddbmm_(share.mT, here)
                scores = torch._softmax_backward_data(torch.bmm(here, value[:, :end].mT), share, -1, share.dtype)
                query_gradient[:, begin:end] = torch.bmm(scores, key[:, :end])
                key_gradient[:, :end].baddbmm_(scores.mT, query[:, begin:end])
            return query_gradient.mul_(ctx.scale), key_gradient, value_gradient, None


def _blocks(tokens: int) -> list[tuple[int, int]]:
    """Where blocks begin and end."""
    return [(begin, min(begin + BLOCK, tokens)) for begin in range(0, tokens, BLOCK)]
