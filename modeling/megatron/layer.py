"""Megatron-core's transformer layer, of which the last goes on with what is asked about alone."""

from typing import Any

from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer
from torch import Tensor


class AskedLayer(TransformerLayer):
    """Nothing looks at the output of the last layer but the head, at the queries: once they have seen the keys of all
    tokens, projection and multilayer perceptron, three quarters of a layer's work, leave all others out."""

    def __init__(self, config: TransformerConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.is_last = self.layer_number == config.num_layers

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> tuple[Tensor, Any]:
        """(T, 1, D) -> (T, 1, D); the last layer gives (R, 1, D) where Packing names what is asked."""
        packing = kwargs["packed_seq_params"]
        if not self.is_last or packing.asked_R is None:
            hidden, context = self._forward_attention(hidden_states, **kwargs)
            return self._forward_mlp(hidden), context
        attended = self.self_attention(self.input_layernorm(hidden_states), None, packed_seq_params=packing)
        add = self.self_attn_bda(self.training, self.config.bias_dropout_fusion)
        return self._forward_mlp(add(attended, hidden_states[packing.asked_R], self.hidden_dropout)), None
