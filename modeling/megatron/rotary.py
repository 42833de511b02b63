"""Rotary positions of packed sequences: angles once a batch, and one pass over queries and keys in each layer.

Shapes: T tokens of all sequences in a row, N heads, H head width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from torch import Tensor


@dataclass(frozen=True)
class Rotation:
    """Turns the halves of each head by the angles of each token's place.

    Megatron's own way over packed sequences asks the device for their lengths in each layer, which a GPU's host has to
    wait for, and makes eight copies where two will do.

    Attributes:
        cos_T1H, sin_T1H: of the angles; the sine is negative in the first half.
    """

    cos_T1H: Tensor
    sin_T1H: Tensor

    @classmethod
    def of(cls, places_T: Tensor, longest: int, embedding: RotaryEmbedding, dtype: torch.dtype) -> "Rotation":
        """The rotation of tokens at places below `longest` by Megatron's angles."""
        cos, sin = (each[places_T, None].to(dtype) for each in embedding.get_cos_sin(longest))
        return cls(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))

    def __call__(self, heads_TNH: Tensor) -> Tensor:
        """Queries or keys, rotated."""
        rotated: Tensor = _Rotated.apply(heads_TNH, self.cos_T1H, self.sin_T1H)  # type: ignore[no-untyped-call]
        return rotated


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads_TNH: Tensor, cos_T1H: Tensor, sin_T1H: Tensor) -> Tensor:
        ctx.save_for_backward(cos_T1H, sin_T1H)
        return _turned(heads_TNH, cos_T1H, sin_T1H, 1)

    @staticmethod
    def backward(ctx: Any, gradient_TNH: Tensor) -> tuple[Tensor, None, None]:
        cos_T1H, sin_T1H = ctx.saved_tensors
        return _turned(gradient_TNH, cos_T1H, sin_T1H, -1), None, None


def _turned(heads_TNH: Tensor, cos_T1H: Tensor, sin_T1H: Tensor, direction: int) -> Tensor:
    other_TNH = heads_TNH.roll(heads_TNH.shape[-1] // 2, -1)
    return torch.mul(heads_TNH, cos_T1H).addcmul_(other_TNH, sin_T1H, value=direction)
