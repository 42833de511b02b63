"""The demand model: Megatron-core's GPTModel under the mixture head."""

from functools import partial

import numpy as np
import torch
from megatron.core.enums import ModelType
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from demand.catalogue import Catalogue
from demand.errors import CheckpointError
from demand.vocabulary import Vocabulary
from modeling.attention import PackedAttention
from modeling.batch import Batch
from modeling.head import DemandHead
from modeling.settings import ModelSettings

WORDS = "gpt.embedding.word_embeddings.weight"
"""The parameter whose rows are the tokens' embeddings."""

EMBEDDING_STD = 0.1
"""Spread of a new token's embedding. Each layer norm divides gradients by the spread of what it reads: at Megatron's
0.02 the norms multiply up, and a run's gradient can grow a thousandfold within ten steps."""


class DemandModel(MegatronModule):
    """Reads packed prompts and answers every query in them in one pass."""

    def __init__(self, settings: ModelSettings, vocabulary_size: int, item_count: int) -> None:
        config = transformer_config(settings)
        super().__init__(config=config)
        self.model_type = ModelType.encoder_or_decoder  # asked for by Megatron's schedules
        self.first_item = vocabulary_size - item_count
        spec = get_gpt_layer_local_spec(normalization=config.normalization, qk_layernorm=settings.qk_norm)
        spec.submodules.self_attention.submodules.core_attention = PackedAttention
        self.gpt = GPTModel(
            config,
            spec,
            vocab_size=vocabulary_size,
            max_sequence_length=settings.places or 1,  # only learned positions need it
            position_embedding_type="learned_absolute" if settings.positions == "learned" else "rope",
            rotary_base=settings.rope_base,
            rope_scaling=settings.rope_scaling is not None,
            rope_scaling_factor=settings.rope_scaling or 1.0,
            post_process=False,  # the head below answers, at the queries only
        )
        self.head = DemandHead(config, item_count)
        self.language_head: nn.Parameter | None = None
        if settings.language_head == "own":  # not trained: demand is answered by the head above
            shape = (vocabulary_size - item_count, settings.hidden)
            self.language_head = nn.Parameter(torch.zeros(shape), requires_grad=False)

    def set_input_tensor(self, input_tensor: list[Tensor | None]) -> None:
        """Megatron's schedules hand over the previous pipeline stage's output here."""
        self.gpt.set_input_tensor(input_tensor)

    def forward(self, batch: Batch) -> Tensor:
        """The distribution over the catalogue at each query, (R, V)."""
        shares_RV: Tensor = self.head(self._hidden(batch), self.item_embeddings_VD, batch)
        return shares_RV

    def next_token_logits(self, batch: Batch) -> Tensor:
        """What a pretrained model says of the token after each token, (T, B): its base vocabulary has B tokens."""
        rows_BD = self.gpt.embedding.word_embeddings.weight[: self.first_item]
        if self.language_head is not None:
            rows_BD = self.language_head
        logits_TB: Tensor = self.head.norm(self._hidden(batch)) @ rows_BD.T
        return logits_TB

    def _hidden(self, batch: Batch) -> Tensor:
        packing = PackedSeqParams(
            qkv_format="thd",
            cu_seqlens_q=batch.starts_S1,
            cu_seqlens_kv=batch.starts_S1,
            max_seqlen_q=batch.longest,
            max_seqlen_kv=batch.longest,
        )
        hidden_T1D = self.gpt(batch.tokens_T[None], batch.places_T[None], None, packed_seq_params=packing)
        hidden_TD: Tensor = hidden_T1D.squeeze(1)
        return hidden_TD

    @property
    def item_embeddings_VD(self) -> Tensor:
        """The embeddings of the item tokens, shared by input and output."""
        embeddings: Tensor = self.gpt.embedding.word_embeddings.weight
        return embeddings[self.first_item :]


def transformer_config(settings: ModelSettings) -> TransformerConfig:
    """Megatron-core's own configuration of a model."""
    activations = {"gelu": gelu, "gelu_tanh": partial(gelu, approximate="tanh"), "swiglu": silu}
    return TransformerConfig(
        num_layers=settings.layers,
        hidden_size=settings.hidden,
        num_attention_heads=settings.heads,
        num_query_groups=settings.groups,
        kv_channels=settings.width,
        ffn_hidden_size=settings.ffn,
        hidden_dropout=settings.dropout,
        attention_dropout=0.0,
        normalization={"layer": "LayerNorm", "rms": "RMSNorm"}[settings.norm],
        layernorm_epsilon=settings.norm_epsilon,
        activation_func=activations[settings.activation],
        gated_linear_unit=settings.activation == "swiglu",
        add_bias_linear=settings.bias,
        add_qkv_bias=settings.qkv_bias,
        qk_layernorm=settings.qk_norm,
        embedding_init_method_std=EMBEDDING_STD,
        use_cpu_initialization=not torch.cuda.is_available(),
        gradient_accumulation_fusion=False,
        bias_dropout_fusion=False,
        calculate_per_token_loss=True,  # the "token" of our loss is a target item
    )


def adopt(model: DemandModel, weights: dict[str, Tensor]) -> None:
    """Puts the weights of a checkpoint without a catalogue into a model with one; what is new in it stays as it is.

    Raises:
        CheckpointError: the weights are of another shape.
    """
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor is not None}
    for name, tensor in weights.items():
        if name == WORDS:
            state[name][: len(tensor)] = tensor  # items come last
        elif name in state and state[name].shape == tensor.shape:
            state[name].copy_(tensor)
        elif tensor.numel():
            raise CheckpointError(f"the base model's {name} does not fit: {tuple(tensor.shape)}")


def initialize_from_catalogue(model: DemandModel, vocabulary: Vocabulary, catalogue: Catalogue) -> None:
    """Item tokens start around the mean of their names' embeddings, item biases at the log of popularity."""
    embeddings = model.gpt.embedding.word_embeddings.weight
    with torch.no_grad():
        for index, name in enumerate(catalogue.names):
            if ids := vocabulary.text(f" {name.lower()},"):
                embeddings[vocabulary.item(index)] += embeddings[ids].mean(0)
        popularity = np.log(catalogue.orders + 1.0)
        model.head.item_bias.copy_(torch.from_numpy(popularity - popularity.mean()))


def parameter_count(model: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in model.parameters())
