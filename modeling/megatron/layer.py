"""Megatron-core's transformer layer, of which the last goes on with what is asked about alone."""

from typing import Any

from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer
from torch import Tensor


class AskedLayer(TransformerLayer):
    """After attention, nothing looks at a token of the last layer again but the head, at the queries: the multilayer
    perceptron, two thirds of a layer's work, leaves all others out."""

    def __init__(self, config: TransformerConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.is_last = self.layer_number == config.num_layers

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        """(T, 1, D) -> (T, 1, D); the last layer gives (R, 1, D) where Packing names what is asked."""
        hidden, context = self._forward_attention(*args, **kwargs)
        asked_R = kwargs["packed_seq_params"].asked_R
        if asked_R is not None and self.is_last:
            hidden = hidden[asked_R]
        return self._forward_mlp(hidden), context
