"""How many parameters a model has, and how many each worker holds: counted from its shape, without making one."""

from dataclasses import dataclass, replace

from demand.vocabulary import CONTROL
from modeling.buckets import AGE_DAYS, ORDERS_AGO
from modeling.layout import LayoutSettings, padded
from modeling.settings import ModelSettings

RELATIVE_BUCKETS = 32
"""Of T5's bias by distance, one for the encoder and one for the decoder."""


@dataclass(frozen=True)
class Run:
    """What is asked about.

    Attributes:
        text_tokens, items: of the vocabulary; control tokens come on top.
        history_tokens: the longest prompt.
        microbatches: in a global batch, of all copies of the model.
        lora_rank: of the adapters beside each linear layer, which is then frozen; 0 trains everything.
    """

    model: ModelSettings
    layout: LayoutSettings
    workers: int
    text_tokens: int
    items: int
    history_tokens: int
    microbatch_tokens: int
    microbatches: int
    lora_rank: int = 0

    @property
    def copies(self) -> int:
        """Copies of the model, which share the global batch."""
        return self.workers // self.layout.model_parallel

    @property
    def base_tokens(self) -> int:
        """Tokens that are no items."""
        return self.text_tokens + len(CONTROL)

    @property
    def bytes_per_number(self) -> int:
        """Of weights and activations; fp8 keeps bf16 weights, and its short-lived 8-bit copies are not counted."""
        return 4 if self.layout.precision == "fp32" else 2


@dataclass(frozen=True)
class Parameters:
    """Parameters of which tensor parallelism splits some; the others are whole on every worker of a stage."""

    split: int
    whole: int
    trained: bool = True

    def on_one(self, tensor: int) -> int:
        """How many of them a worker holds."""
        return -(-self.split // tensor) + self.whole


def stage(run: Run, first: bool, last: bool) -> list[Parameters]:
    """The parameters of one pipeline stage."""
    model, width = run.model, run.model.hidden
    rows = padded(run.base_tokens + run.items) * width
    parameters = [_layers(run), *_adapters(run)]
    if first:
        parameters.append(Parameters(rows, 0))
        parameters.append(Parameters(0, (model.places or 0) * width, trained=not run.lora_rank))
    if last:
        parameters.append(_head(run))
        if not first:  # the first stage's embeddings again
            parameters.append(Parameters(rows, 0))
        if model.language_head == "own":
            parameters.append(Parameters(0, run.base_tokens * width, trained=False))
    return parameters


def _layers(run: Run) -> Parameters:
    """The layers of one stage, and what an encoder has beside its layers."""
    model = run.model
    norm = model.hidden * (2 if model.norm == "layer" else 1)
    split = whole = 0
    for each in matrices(model):
        split += each.inputs * each.outputs
        if each.column:
            split += each.outputs if model.bias or (each.qkv and model.qkv_bias) else 0
        else:
            whole += each.outputs if model.bias else 0
    whole += (5 if model.architecture == "t5" else 2) * norm
    if model.qk_norm:
        whole += 2 * model.width * (2 if model.norm == "layer" else 1)
    layers = model.layers // run.layout.pipeline
    once = norm + 2 * RELATIVE_BUCKETS * model.heads if model.architecture == "t5" else 0
    return Parameters(layers * split, layers * whole + once, trained=not run.lora_rank)


@dataclass(frozen=True)
class Matrix:
    """One matrix of a layer. `column`: tensor parallelism splits its outputs, otherwise its inputs.

    A decoder that answers one question has few tokens; `every_token` are those that all tokens of a prompt go through.
    """

    inputs: int
    outputs: int
    column: bool
    every_token: bool = True
    qkv: bool = False


def matrices(model: ModelSettings) -> list[Matrix]:
    """Of a layer; of an encoder and decoder, of a layer of each."""
    if model.architecture == "gpt":
        return [*_self_attention(model), *_feed_forward(model)]
    queries = model.heads * model.width
    decoder = [*_self_attention(model), Matrix(model.hidden, queries, True), *_feed_forward(model)]
    cross = [Matrix(model.hidden, 2 * queries, True), Matrix(queries, model.hidden, False, every_token=False)]
    asked = [replace(each, every_token=False) for each in decoder]
    return [*_self_attention(model), *_feed_forward(model), *asked, *cross]


def _self_attention(model: ModelSettings) -> list[Matrix]:
    queries, keys = model.heads * model.width, model.groups * model.width
    return [Matrix(model.hidden, queries + 2 * keys, True, qkv=True), Matrix(queries, model.hidden, False)]


def _feed_forward(model: ModelSettings) -> list[Matrix]:
    up = model.ffn * (2 if model.gated else 1)
    return [Matrix(model.hidden, up, True), Matrix(model.ffn, model.hidden, False)]


def _adapters(run: Run) -> list[Parameters]:
    """LoRA's two matrices beside each matrix (Hu et al., 2021): each is split where the matrix beside it is."""
    if not run.lora_rank:
        return []
    layers = run.model.layers // run.layout.pipeline
    split = whole = 0
    for each in matrices(run.model):
        split += run.lora_rank * (each.outputs if each.column else each.inputs)
        whole += run.lora_rank * (each.inputs if each.column else each.outputs)
    return [Parameters(layers * split, layers * whole)]


def _head(run: Run) -> Parameters:
    """The mixture head; always trained, as the embeddings are, because a catalogue's items are new to any base."""
    width = run.model.hidden
    norm = width * (2 if run.model.norm == "layer" else 1)
    elapsed, query, gate = (len(AGE_DAYS) + 2) * width, width * width + width, width + 1
    biases = run.items + len(AGE_DAYS) + 1 + len(ORDERS_AGO) + 1
    return Parameters(2 * width * width, norm + elapsed + query + gate + biases)
