"""The demand model: Megatron-core's GPTModel under the mixture head."""

from functools import partial
from typing import Any

import numpy as np
import torch
from megatron.core import parallel_state
from megatron.core.enums import ModelType
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.tensor_parallel import VocabParallelEmbedding, gather_from_sequence_parallel_region
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from demand.catalogue import Catalogue
from demand.vocabulary import Vocabulary
from modeling.attention import PackedAttention, Packing
from modeling.batch import Batch
from modeling.dropout import Dropout, bias_dropout_add
from modeling.head import DemandHead, Held
from modeling.layout import LayoutSettings, padded
from modeling.norm import Norm
from modeling.rotary import Rotation
from modeling.settings import ModelSettings

WORDS = "gpt.embedding.word_embeddings.weight"
"""The parameter whose rows are the tokens' embeddings."""

EMBEDDING_STD = 0.1
"""Spread of a new token's embedding. Each layer norm divides gradients by the spread of what it reads: at Megatron's
0.02 the norms multiply up, and a run's gradient can grow a thousandfold within ten steps."""


class DemandModel(MegatronModule):
    """Reads packed prompts and answers every query in them in one pass.

    Under pipeline parallelism each process holds one stage: the first reads tokens, the last answers queries, and both
    hold the embeddings, which Megatron keeps equal. `share_embeddings_and_output_weights`, `pre_process` and
    `post_process` are the names under which Megatron asks for this.
    """

    def __init__(
        self,
        settings: ModelSettings,
        vocabulary_size: int,
        item_count: int,
        layout: LayoutSettings | None = None,
    ) -> None:
        layout = layout or LayoutSettings()
        config = transformer_config(settings, layout)
        super().__init__(config=config)
        self.model_type = ModelType.encoder_or_decoder  # asked for by Megatron's schedules
        self.settings = settings
        self.vocabulary_size, self.item_count = vocabulary_size, item_count
        self.pre_process = parallel_state.is_pipeline_first_stage()
        self.post_process = parallel_state.is_pipeline_last_stage()
        self.share_embeddings_and_output_weights = True
        rows = padded(vocabulary_size)
        self.gpt = GPTModel(
            config,
            layer_spec(config, settings),
            vocab_size=rows,
            max_sequence_length=settings.places or 1,  # only learned positions need it
            pre_process=self.pre_process,
            post_process=False,  # the head below answers, at the queries only
            position_embedding_type="learned_absolute" if settings.positions == "learned" else "rope",
            rotary_base=settings.rope_base,
            rope_scaling=settings.rope_scaling is not None,
            rope_scaling_factor=settings.rope_scaling or 1.0,
        )
        self.gpt.position_embedding_type = "none"  # from here on: PackedAttention rotates
        if self.pre_process:
            self.gpt.embedding.embedding_dropout = Dropout(settings.dropout)
        self.output_words: VocabParallelEmbedding | None = None
        self.language_head: nn.Parameter | None = None
        if self.post_process:
            self.head = DemandHead(config, item_count)
            if settings.language_head == "own":  # not trained: demand is answered by the head above
                shape = (vocabulary_size - item_count, settings.hidden)
                self.language_head = nn.Parameter(torch.zeros(shape), requires_grad=False)
            if not self.pre_process:
                self.output_words = VocabParallelEmbedding(
                    rows, settings.hidden, init_method=nn.init.zeros_, config=config
                )
        self._mark_shared_embeddings()

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple[()] = (), metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Megatron's description of what this process holds; the last stage's embeddings are the first one's again."""
        state: dict[str, Any] = super().sharded_state_dict(prefix, sharded_offsets, metadata)
        if self.output_words:
            again = state[f"{prefix}output_words.weight"]
            again.key, again.replica_id = f"{prefix}{WORDS}", (1, *again.replica_id[1:])
        return state

    def set_input_tensor(self, input_tensor: list[Tensor | None]) -> None:
        """Megatron's schedules hand over the previous pipeline stage's output here."""
        self.gpt.set_input_tensor(input_tensor)

    def shared_embedding_or_output_weight(self) -> Tensor | None:
        """The embeddings, whose gradients Megatron adds up over the first and the last stage."""
        return self.words.weight if self.words else None

    def forward(self, batch: Batch, only_targets: bool = False) -> Tensor:
        """What the last stage answers: the distribution over the catalogue at each query, (R, V).

        An earlier stage gives its hidden states to the next, (T, 1, D).

        Args:
            only_targets: gives the target items' shares instead, (Y,), at a fraction of the price.
        """
        hidden_T1D = self._hidden(batch)
        if not self.post_process:
            return hidden_T1D
        hidden_TD = self._whole(hidden_T1D)
        mixture = self.head(hidden_TD[batch.queries_R], hidden_TD, self._words.weight, self.held, batch)
        shares: Tensor = mixture.of_targets(batch) if only_targets else mixture.dense(batch)
        return shares

    def next_token_logits(self, batch: Batch) -> Tensor:
        """What a pretrained model says of the token after each token, (T, B): its base vocabulary has B tokens.

        Only where one process holds the whole model.
        """
        rows_BD = self._words.weight[: self.vocabulary_size - self.item_count]
        if self.language_head is not None:
            rows_BD = self.language_head
        logits_TB: Tensor = self.head.norm(self._whole(self._hidden(batch))) @ rows_BD.T
        return logits_TB

    def _hidden(self, batch: Batch) -> Tensor:
        rotation = None
        if self.settings.positions == "rotary":
            dtype = next(self.gpt.parameters()).dtype
            rotation = Rotation.of(batch, self.gpt.rotary_pos_emb, dtype)
        packing = Packing.of(batch, rotation)
        hidden_T1D: Tensor = self.gpt(batch.tokens_T[None], batch.places_T[None], None, packed_seq_params=packing)
        return hidden_T1D

    def _whole(self, hidden_T1D: Tensor) -> Tensor:
        """(T, D), of all tokens on every process."""
        if self.config.sequence_parallel:
            hidden_T1D = gather_from_sequence_parallel_region(hidden_T1D, tensor_parallel_output_grad=False)
        return hidden_T1D.squeeze(1)

    @property
    def words(self) -> VocabParallelEmbedding | None:
        """The embeddings of all tokens, of which this process holds some rows; none in a stage in between."""
        embeddings: VocabParallelEmbedding | None = self.gpt.embedding.word_embeddings if self.pre_process else None
        return embeddings or self.output_words

    @property
    def _words(self) -> VocabParallelEmbedding:
        if self.words is None:
            raise RuntimeError("a stage in between has no embeddings")
        return self.words

    @property
    def held(self) -> Held:
        """The items whose embeddings this process holds: items come last in the vocabulary."""
        begin, end = self._words.vocab_start_index, self._words.vocab_end_index
        first_item = self.vocabulary_size - self.item_count
        low, high = (min(max(row, first_item), self.vocabulary_size) for row in (begin, end))
        return Held(low - first_item, high - first_item, slice(low - begin, high - begin))

    @property
    def item_embeddings_VD(self) -> Tensor:
        """The embeddings of the item tokens that this process holds, shared by input and output."""
        embeddings: Tensor = self._words.weight[self.held.rows]
        return embeddings

    def _mark_shared_embeddings(self) -> None:
        """As Megatron's LanguageModule does, so that the optimizer counts the copy's gradient once."""
        if self.pre_process != self.post_process and self.words:
            self.words.weight.shared_embedding = True
            self.words.weight.shared = self.post_process


def transformer_config(settings: ModelSettings, layout: LayoutSettings | None = None) -> TransformerConfig:
    """Megatron-core's own configuration of a model in a layout."""
    layout = layout or LayoutSettings()
    activations = {"gelu": gelu, "gelu_tanh": partial(gelu, approximate="tanh"), "swiglu": silu}
    dtype = torch.float32 if layout.precision == "fp32" else torch.bfloat16
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
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        context_parallel_size=layout.context,
        sequence_parallel=layout.sequence_parallel,
        variable_seq_lengths=True,  # packs differ in length
        moe_token_dispatcher_type="alltoall",  # noqa: S106 (unused, but the default is refused with variable lengths)
        pipeline_dtype=dtype,
        params_dtype=torch.float32,  # FineTuning turns them into bf16 where asked to
        bf16=layout.precision != "fp32",
        fp8="hybrid" if layout.precision == "fp8" else None,
        recompute_granularity="full" if layout.recompute == "full" else None,
        recompute_method="uniform" if layout.recompute == "full" else None,
        recompute_num_layers=1 if layout.recompute == "full" else None,
    )


def layer_spec(config: TransformerConfig, settings: ModelSettings) -> ModuleSpec:
    """Megatron-core's local layer with our attention; with fp8, Transformer Engine's matrices in it."""
    spec = get_gpt_layer_local_spec(normalization=config.normalization, qk_layernorm=settings.qk_norm)
    attention, mlp = spec.submodules.self_attention.submodules, spec.submodules.mlp.submodules
    attention.core_attention = PackedAttention
    spec.submodules.input_layernorm = spec.submodules.pre_mlp_layernorm = Norm
    spec.submodules.self_attn_bda = spec.submodules.mlp_bda = bias_dropout_add
    if settings.qk_norm:
        attention.q_layernorm = attention.k_layernorm = Norm
    if config.fp8:
        from megatron.core.extensions.transformer_engine import TEColumnParallelLinear, TERowParallelLinear

        attention.linear_qkv, attention.linear_proj = TEColumnParallelLinear, TERowParallelLinear
        mlp.linear_fc1, mlp.linear_fc2 = TEColumnParallelLinear, TERowParallelLinear
    return spec


def initialize_from_catalogue(model: DemandModel, vocabulary: Vocabulary, catalogue: Catalogue) -> None:
    """Item tokens start around the mean of their names' embeddings, item biases at the log of popularity."""
    with torch.no_grad():
        if model.words:
            names = [vocabulary.text(f" {name.lower()},") for name in catalogue.names]
            held = model.held
            model.item_embeddings_VD.add_(_mean_embeddings(model.words, names)[held.first : held.last])
        synchronize_embeddings(model)
        if model.post_process:
            popularity = np.log(catalogue.orders + 1.0)
            model.head.item_bias.copy_(torch.from_numpy(popularity - popularity.mean()))


def _mean_embeddings(words: VocabParallelEmbedding, texts: list[list[int]]) -> Tensor:
    """The mean of each text's token embeddings, (texts, D); zero for an empty text."""
    weight, begin = words.weight, words.vocab_start_index
    sums: Tensor = weight.new_zeros(len(texts), weight.shape[1])
    for row, text in enumerate(texts):
        here = [token - begin for token in text if begin <= token < words.vocab_end_index]
        sums[row] = weight[here].sum(0) / max(len(text), 1)
    torch.distributed.all_reduce(sums, group=parallel_state.get_tensor_model_parallel_group())
    return sums


def synchronize_embeddings(model: DemandModel) -> None:
    """Gives the last pipeline stage the first one's embeddings."""
    if model.pre_process != model.post_process and model.words:
        if model.post_process:
            model.words.weight.data.zero_()
        torch.distributed.all_reduce(model.words.weight.data, group=parallel_state.get_embedding_group())


def parameter_count(model: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in model.parameters())
