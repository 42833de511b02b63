"""The demand model: a Megatron-core language model under the demand head."""

from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.enums import ModelType
from megatron.core.tensor_parallel import VocabParallelEmbedding
from megatron.core.transformer.module import MegatronModule
from torch import Tensor, nn

from demand.catalogue import Catalogue
from demand.vocabulary import CONTROL, Vocabulary
from modeling.batch import Batch
from modeling.calendar import Calendar
from modeling.layout import LayoutSettings, padded
from modeling.megatron.backbone import build_core, read_and_answer, read_packed, read_queries, transformer_config, whole
from modeling.megatron.head import DemandHead, Forecast, Held
from modeling.megatron.lora import freeze
from modeling.settings import LoraSettings, ModelSettings


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
        lora: LoraSettings | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        """`catalogue` tells how the items sold and what they are called; without it nothing is known of that."""
        config = transformer_config(settings, layout, lora)
        super().__init__(config=config)
        self.model_type = ModelType.encoder_or_decoder  # asked for by Megatron's schedules
        self.settings, self.lora = settings, lora or LoraSettings()
        self.vocabulary_size, self.item_count = vocabulary_size, item_count
        self.pre_process = parallel_state.is_pipeline_first_stage()
        self.post_process = parallel_state.is_pipeline_last_stage()
        self.share_embeddings_and_output_weights = True
        rows = padded(vocabulary_size)
        self.add_module(settings.architecture, build_core(settings, config, rows, self.pre_process))
        self.output_words: VocabParallelEmbedding | None = None
        self.language_head: nn.Parameter | None = None
        if self.post_process:
            self.calendar = Calendar(settings.hidden) if settings.calendar else None
            if settings.language_head == "own":  # not trained: demand is answered by the head above
                shape = (vocabulary_size - item_count, settings.hidden)
                self.language_head = nn.Parameter(torch.zeros(shape), requires_grad=False)
            if not self.pre_process:
                self.output_words = VocabParallelEmbedding(
                    rows, settings.hidden, init_method=nn.init.zeros_, config=config
                )
            self.head = DemandHead(config, settings.habit_width, item_count, self.held, catalogue)
        self._mark_shared_embeddings()
        if self.lora.rank:
            weight, row = (self.words.weight, self.words.vocab_start_index) if self.words else (None, 0)
            freeze(self, weight, row, first_new=vocabulary_size - item_count - len(CONTROL))

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple[()] = (), metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Megatron's description of what this process holds; the last stage's embeddings are the first one's again."""
        state: dict[str, Any] = super().sharded_state_dict(prefix, sharded_offsets, metadata)
        if self.output_words:
            again = state[f"{prefix}output_words.weight"]
            again.key, again.replica_id = f"{prefix}{self.settings.words}", (1, *again.replica_id[1:])
        return state

    def set_input_tensor(self, input_tensor: list[Tensor | None]) -> None:
        """Megatron's schedules hand over the previous pipeline stage's output here."""
        self.core.set_input_tensor(input_tensor)

    def shared_embedding_or_output_weight(self) -> Tensor | None:
        """The embeddings, whose gradients Megatron adds up over the first and the last stage."""
        return self.words.weight if self.words else None

    def forward(self, batch: Batch, learn: bool = False) -> Tensor:
        """What the last stage answers: at each query the chance of an order, and how often each item is expected.

        An earlier stage gives its hidden states to the next, (T, 1, D).

        Args:
            learn: gives the loss instead, (), at a fraction of the price.

        Returns:
            (R, 1 + V)
        """
        query_RD = self.read(batch)
        return self.answer(query_RD, batch, learn) if self.post_process else query_RD

    def read(self, batch: Batch) -> Tensor:
        """The hidden state at each query, (R, D), which the last stage answers from; of an earlier stage (T, 1, D)."""
        if self.settings.architecture == "t5":
            query_RD = read_and_answer(self.core, batch)
        else:
            query_RD = read_queries(self.core, batch, self.config)
        if self.post_process and self.calendar is not None:
            query_RD = query_RD + self.calendar(batch.moments_R).to(query_RD.dtype)
        return query_RD

    def answer(self, query_RD: Tensor, batch: Batch, learn: bool = False) -> Tensor:
        """What is answered at hidden states, of queries whose tokens are not read again; as `forward`."""
        forecast: Forecast = self.head(query_RD, self._words.weight, batch)
        return forecast.loss(batch) if learn else forecast.dense(batch)

    def next_token_logits(self, batch: Batch) -> Tensor:
        """What a pretrained model says of the token after each token, (T, B): its base vocabulary has B tokens.

        An encoder and decoder say it of the first token of the answer, given each question, (R, B). Only where one
        process holds the whole model.
        """
        if self.settings.architecture == "t5":
            hidden = read_and_answer(self.core, batch)
        else:
            hidden = whole(read_packed(self.core, batch), self.config, batch)
        rows_BD = self._words.weight[: self.vocabulary_size - self.item_count]
        if self.language_head is not None:
            rows_BD = self.language_head
        logits: Tensor = self.head.norm(hidden) @ rows_BD.T
        return logits

    @property
    def core(self) -> Any:
        """The language model, under the name of its architecture, with which its parameters' names begin."""
        return getattr(self, self.settings.architecture)

    @property
    def words(self) -> VocabParallelEmbedding | None:
        """The embeddings of all tokens, of which this process holds some rows; none in a stage in between."""
        embeddings: VocabParallelEmbedding | None = self.core.embedding.word_embeddings if self.pre_process else None
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


def initialize_from_catalogue(model: DemandModel, vocabulary: Vocabulary, catalogue: Catalogue) -> None:
    """Item tokens start around the mean of their names' embeddings, item biases at their popularity."""
    with torch.no_grad():
        if model.words:
            means_VD, held = _mean_embeddings(model.words, vocabulary.names(catalogue)), model.held
            model.item_embeddings_VD.add_(means_VD[held.first : held.last])
        synchronize_embeddings(model)
        if model.post_process:
            model.head.popularity(catalogue.orders)


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
    """How many numbers it holds, learned or not."""
    return sum(parameter.numel() for parameter in model.parameters())
