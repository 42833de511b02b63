"""How many parameters a model has, and how many each worker holds: counted from its shape, without making one."""

from dataclasses import dataclass

from demand.vocabulary import CONTROL
from modeling.buckets import AGE_DAYS, ORDERS_AGO
from modeling.layout import LayoutSettings, padded
from modeling.settings import ModelSettings


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
        parameters.append(Parameters(rows, (model.places or 0) * width))
    if last:
        parameters.append(_head(run))
        if not first:  # the first stage's embeddings again
            parameters.append(Parameters(rows, 0))
        if model.language_head == "own":
            parameters.append(Parameters(0, run.base_tokens * width, trained=False))
    return parameters


def _layers(run: Run) -> Parameters:
    """The decoder layers of one stage."""
    model = run.model
    numbers_per_norm = 2 if model.norm == "layer" else 1
    split = sum(rows * columns for rows, columns in matrices(model))
    whole = 2 * model.hidden * numbers_per_norm
    if model.bias or model.qkv_bias:
        split += matrices(model)[0][1]
    if model.bias:
        split += matrices(model)[2][1]
        whole += 2 * model.hidden
    if model.qk_norm:
        whole += 2 * model.width * numbers_per_norm
    layers = model.layers // run.layout.pipeline
    return Parameters(layers * split, layers * whole, trained=not run.lora_rank)


def matrices(model: ModelSettings) -> list[tuple[int, int]]:
    """Inputs and outputs of a layer's matrices: queries, keys and values; projection; feed-forward up, and down."""
    queries, keys = model.heads * model.width, model.groups * model.width
    gated = 2 if model.activation == "swiglu" else 1
    return [(model.hidden, queries + 2 * keys), (queries, model.hidden), (model.hidden, gated * model.ffn),
            (model.ffn, model.hidden)]  # fmt: skip


def _adapters(run: Run) -> list[Parameters]:
    """LoRA's two matrices beside each matrix (Hu et al., 2021): each is split where the matrix beside it is."""
    if not run.lora_rank:
        return []
    layers = run.model.layers // run.layout.pipeline
    split = whole = 0
    for place, (inputs, outputs) in enumerate(matrices(run.model)):
        split += run.lora_rank * (outputs if place % 2 == 0 else inputs)
        whole += run.lora_rank * (inputs if place % 2 == 0 else outputs)
    return [Parameters(layers * split, layers * whole)]


def _head(run: Run) -> Parameters:
    """The mixture head; always trained, as the embeddings are, because a catalogue's items are new to any base."""
    width = run.model.hidden
    norm = width * (2 if run.model.norm == "layer" else 1)
    elapsed, query, gate = (len(AGE_DAYS) + 2) * width, width * width + width, width + 1
    biases = run.items + len(AGE_DAYS) + 1 + len(ORDERS_AGO) + 1
    return Parameters(2 * width * width, norm + elapsed + query + gate + biases)
