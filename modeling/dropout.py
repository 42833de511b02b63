"""Dropout whose random numbers cost little on a CPU, where PyTorch draws a 53-bit number for each value it keeps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

STEPS = 2**16
"""Each value is dropped by a 16-bit number: four for one draw of the generator."""


class Dropout(nn.Module):
    """nn.Dropout, but for how the CPU draws."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """The values, of which some are zero while training."""
        return dropped(values, self.share, self.training)


def bias_dropout_add(training: bool, fused: bool) -> Callable[..., Tensor]:
    """Megatron's function of this name, with our dropout: what ends each half of a layer."""

    def add(output_and_bias: tuple[Tensor, Tensor | None], residual: Tensor, share: float) -> Tensor:
        output, bias = output_and_bias
        if bias is not None:
            output = output + bias
        return residual + dropped(output, share, training)

    return add


def dropped(values: Tensor, share: float, training: bool) -> Tensor:
    """The values without a share of them, the rest scaled up; all of them where nothing is trained."""
    if not training or not share or values.is_cuda:
        return dropout(values, share, training)
    kept: Tensor = _Kept.apply(values, share)  # type: ignore[no-untyped-call]
    return kept


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, share: float) -> Tensor:
        bound = round(share * STEPS)
        draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        numbers = draws.view(torch.int16)[: values.numel()].view(values.shape)
        scale = torch.ge(numbers, bound - STEPS // 2, out=torch.empty(values.shape, dtype=values.dtype))
        scale.mul_(STEPS / (STEPS - bound))
        ctx.save_for_backward(scale)
        return values * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (scale,) = ctx.saved_tensors
        return gradient * scale, None
