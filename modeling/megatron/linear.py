"""Megatron-core's matrices, by PyTorch's own product where one process holds them whole.

Megatron's own way brings what only shares of a matrix need, in Python and in each pass, and torch.compile stops at it.
"""

from typing import Any

from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear
from torch import Tensor
from torch.nn.functional import linear


class Column(ColumnParallelLinear):
    """Split by rows of the weight, or whole."""

    def forward(self, input_: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
        """The product, and the bias where it is left to others to add."""
        return _whole(self, input_) if _is_whole(self) else super().forward(input_, *arguments, **options)


class Row(RowParallelLinear):
    """Split by columns of the weight, or whole."""

    def forward(self, input_: Tensor) -> tuple[Tensor, Tensor | None]:
        """The product, and the bias where it is left to others to add."""
        return _whole(self, input_) if _is_whole(self) else super().forward(input_)


def _is_whole(layer: Column | Row) -> bool:
    return bool(layer.config.tensor_model_parallel_size == 1)


def _whole(layer: Column | Row, input_: Tensor) -> tuple[Tensor, Tensor | None]:
    later = layer.skip_bias_add
    return linear(input_, layer.weight, None if later else layer.bias), layer.bias if later else None
