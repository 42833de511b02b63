"""The demand model: Megatron-core's GPTModel under the mixture head."""

import numpy as np
import torch
from megatron.core.enums import ModelType
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from demand.catalogue import Catalogue
from demand.vocabulary import Vocabulary
from modeling.attention import PackedAttention
from modeling.batch import Batch
from modeling.head import DemandHead
from modeling.settings import ModelSettings


class DemandModel(MegatronModule):
    """Reads packed prompts and answers every query in them in one pass."""

    def __init__(self, settings: ModelSettings, vocabulary_size: int, item_count: int) -> None:
        config = transformer_config(settings)
        super().__init__(config=config)
        self.model_type = ModelType.encoder_or_decoder  # asked for by Megatron's schedules
        self.first_item = vocabulary_size - item_count
        spec = get_gpt_layer_local_spec()
        spec.submodules.self_attention.submodules.core_attention = PackedAttention
        self.gpt = GPTModel(
            config,
            spec,
            vocab_size=vocabulary_size,
            max_sequence_length=1,  # only learned positions need it
            position_embedding_type="rope",
            post_process=False,  # the head below answers, at the queries only
        )
        self.head = DemandHead(config, item_count)

    def set_input_tensor(self, input_tensor: list[Tensor | None]) -> None:
        """Megatron's schedules hand over the previous pipeline stage's output here."""
        self.gpt.set_input_tensor(input_tensor)

    def forward(self, batch: Batch) -> Tensor:
        """The distribution over the catalogue at each query, (R, V)."""
        packing = PackedSeqParams(
            qkv_format="thd",
            cu_seqlens_q=batch.starts_S1,
            cu_seqlens_kv=batch.starts_S1,
            max_seqlen_q=batch.longest,
            max_seqlen_kv=batch.longest,
        )
        hidden_T1D = self.gpt(batch.tokens_T[None], batch.places_T[None], None, packed_seq_params=packing)
        shares_RV: Tensor = self.head(hidden_T1D.squeeze(1), self.item_embeddings_VD, batch)
        return shares_RV

    @property
    def item_embeddings_VD(self) -> Tensor:
        """The embeddings of the item tokens, shared by input and output."""
        embeddings: Tensor = self.gpt.embedding.word_embeddings.weight
        return embeddings[self.first_item :]


def transformer_config(settings: ModelSettings) -> TransformerConfig:
    """Megatron-core's own configuration of a model."""
    return TransformerConfig(
        num_layers=settings.layers,
        hidden_size=settings.hidden,
        num_attention_heads=settings.heads,
        ffn_hidden_size=settings.ffn,
        hidden_dropout=settings.dropout,
        attention_dropout=0.0,
        use_cpu_initialization=not torch.cuda.is_available(),
        gradient_accumulation_fusion=False,
        bias_dropout_fusion=False,
        calculate_per_token_loss=True,  # the "token" of our loss is a target item
    )


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
