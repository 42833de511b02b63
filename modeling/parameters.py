"""How many parameters a model has, and how many each worker holds: counted from its shape, without making one."""

from dataclasses import dataclass
from typing import NamedTuple

from demand.habits import OF_CUSTOMERS, OF_ITEMS, OF_WAITS
from demand.names import NAME_WIDTH
from demand.sales import OF_SALES, WINDOWS
from demand.vocabulary import CONTROL
from modeling.calendar import calendar_parameters
from modeling.layout import LayoutSettings, padded
from modeling.settings import ModelSettings
from modeling.waiting import FROM

RELATIVE_BUCKETS = 32
"""Distances that T5's relative positions tell apart (Raffel et al., 2020)."""


@dataclass(frozen=True)
class Run:
    """What is asked about.

    Attributes:
        text_tokens, items: of the vocabulary; control tokens come on top.
        history_tokens: of a prompt, at most.
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
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return min(self.history_tokens, self.microbatch_tokens)

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


class Matrix(NamedTuple):
    """A linear layer. Tensor parallelism splits its outputs (`by_outputs`) or else its inputs."""

    inputs: int
    outputs: int
    by_outputs: bool
    bias: bool


def stage(run: Run, first: bool, last: bool) -> list[Parameters]:
    """The parameters of one pipeline stage."""
    model, width = run.model, run.model.hidden
    rows = padded(run.base_tokens + run.items) * width
    parameters = _layers(run, matrices(model), norms=2)
    if model.architecture == "t5":
        parameters += _layers(run, [*matrices(model), *crossing(model)], norms=3)
        once = _norm(model, width) + 2 * RELATIVE_BUCKETS * model.heads  # the encoder's last norm; both biases
        parameters.append(Parameters(0, once, trained=not run.lora_rank))
    if first:
        parameters += [
            Parameters(rows, 0),
            Parameters(0, (model.places or 0) * width, trained=not run.lora_rank),
        ]
    if last:
        parameters.append(_head(run))
        if not first:  # the first stage's embeddings again
            parameters.append(Parameters(rows, 0))
        if model.language_head == "own":
            parameters.append(Parameters(0, run.base_tokens * width, trained=False))
    return parameters


def matrices(model: ModelSettings) -> list[Matrix]:
    """Of a layer: queries, keys and values; their projection; feed-forward up, with its gate, and down."""
    queries, keys = model.heads * model.width, model.groups * model.width
    up = model.ffn * (2 if model.gated else 1)
    return [
        Matrix(model.hidden, queries + 2 * keys, True, model.bias or model.qkv_bias),
        Matrix(queries, model.hidden, False, model.bias),
        Matrix(model.hidden, up, True, model.bias),
        Matrix(model.ffn, model.hidden, False, model.bias),
    ]


def crossing(model: ModelSettings) -> list[Matrix]:
    """Of a decoder's layer that reads an encoder, beside its others: queries, keys and values, their projection."""
    queries = model.heads * model.width
    return [
        Matrix(model.hidden, queries, True, model.bias),
        Matrix(model.hidden, 2 * queries, True, model.bias),
        Matrix(queries, model.hidden, False, model.bias),
    ]


def _layers(run: Run, linear: list[Matrix], norms: int) -> list[Parameters]:
    """One stage's layers, and LoRA's two matrices beside each matrix of them (Hu et al., 2021)."""
    model, layers = run.model, run.model.layers // run.layout.pipeline
    whole = norms * _norm(model, model.hidden) + (2 * _norm(model, model.width) if model.qk_norm else 0)
    split = sum(each.inputs * each.outputs + each.outputs * (each.bias and each.by_outputs) for each in linear)
    whole += sum(each.outputs * (each.bias and not each.by_outputs) for each in linear)
    parameters = [Parameters(layers * split, layers * whole, trained=not run.lora_rank)]
    if run.lora_rank:  # each adapter is split where the matrix beside it is
        split = run.lora_rank * sum(each.outputs if each.by_outputs else each.inputs for each in linear)
        whole = run.lora_rank * sum(each.inputs if each.by_outputs else each.outputs for each in linear)
        parameters.append(Parameters(layers * split, layers * whole))
    return parameters


def _norm(model: ModelSettings, width: int) -> int:
    """A weight, and a bias where it is no root-mean-square norm."""
    return width * (2 if model.norm == "layer" else 1)


def _head(run: Run) -> Parameters:
    """Head and calendar; always trained, as the embeddings are, of which the items are new to any base."""
    width, own = run.model.hidden, run.model.habit_width
    query = (width + 1) * (width + NAME_WIDTH)
    customer = len(OF_CUSTOMERS) * own + own
    size = customer + width * own + (own + 1)
    wait = customer + len(OF_WAITS) * own + (own * own + own) + (own + 1) * len(FROM)
    habits = (len(OF_ITEMS) * own + own) + (len(OF_CUSTOMERS) + 2 * width) * own + (own * own + own) + (own + 1)
    days = calendar_parameters(width) if run.model.calendar else 0
    sales = len(OF_SALES) * own + (width + 1) * (1 + len(WINDOWS))
    return Parameters(0, _norm(run.model, width) + query + run.items + size + wait + habits + sales + days)
