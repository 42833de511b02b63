"""What a run would take, by arithmetic alone: parameters, memory of a worker, tokens per second.

Memory is what Megatron-core holds between steps (Rajbhandari et al., 2020, "ZeRO") and what PyTorch keeps for the
backward pass (Korthikanti et al., 2022, "Reducing Activation Recomputation in Large Transformer Models", section 4,
without attention scores where attention is fused). Speed is the model's FLOPs (Chowdhery et al., 2022,
"PaLM", appendix B) at an assumed share of the device's peak, with the pipeline's bubble (Narayanan et al., 2021,
"Efficient Large-Scale Language Model Training on GPU Clusters", section 2.2).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from demand.habits import OF_ITEMS
from demand.sales import OF_SALES, WINDOWS
from modeling.devices import Device
from modeling.layout import LayoutSettings, impossible
from modeling.parameters import Run, crossing, matrices, stage
from modeling.waiting import FROM

GIB = 2**30
QUERIES = 0.07
"""Queries in a token of Complete Journey's compact prompts; in other formats there are fewer."""
MET = 0.1
"""Items that a customer met before a query, as a share of the longest prompt's tokens; likewise."""
PER_INTERVAL = 20
"""Bytes of each query and interval of modeling.waiting."""
BYTES_PER_PAIR = 32
"""Places of a query and an item met before it."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one worker; of the optimizer also the running mean of the weights."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Estimate:
    """The answer. `parameters_per_worker` and `memory` are those of the fullest worker."""

    parameters: int
    trained: int
    parameters_per_worker: int
    memory: Memory
    tokens_per_step: int
    tokens_per_second: float


def estimate(run: Run, device: Device) -> Estimate:
    """What a run takes on workers of one kind. The run's layout must be possible."""
    alone = stage(replace(run, layout=LayoutSettings()), first=True, last=True)
    ends = [(True, True)] if run.layout.pipeline == 1 else [(True, False), (False, True)]
    fullest = max(ends, key=lambda end: _memory(run, *end).total)
    return Estimate(
        parameters=sum(each.on_one(1) for each in alone),
        trained=sum(each.on_one(1) for each in alone if each.trained),
        parameters_per_worker=sum(each.on_one(run.layout.tensor) for each in stage(run, *fullest)),
        memory=_memory(run, *fullest),
        tokens_per_step=run.microbatches * run.microbatch_tokens,
        tokens_per_second=run.workers * device.rate(run.layout) * _busy(run) / _flops_per_token(run),
    )


def fitting(run: Run, device: Device) -> Iterator[Run]:
    """The same run spread so that it fits, over as many workers or more, the fewest first."""
    for factor, recompute in product((1, 2, 4, 8, 16, 32, 64), dict.fromkeys((run.layout.recompute, "full"))):
        for other in _spread(run, run.workers * factor, recompute):
            if _possible(other, device) and estimate(other, device).memory.total <= device.memory:
                yield other


def _spread(run: Run, workers: int, recompute: str) -> Iterator[Run]:
    """The run on so many workers: over the fewest at first, by tensor rather than by pipeline."""
    shapes = [each for each in product((1, 2, 4, 8, 16), repeat=2) if each[0] * each[1] <= workers]
    for tensor, pipeline in sorted(shapes, key=lambda each: (each[0] * each[1], each[1])):
        changes = {
            "tensor": tensor,
            "pipeline": pipeline,
            "sequence_parallel": tensor > 1,
            "distributed_optimizer": pipeline == 1 and (run.layout.distributed_optimizer or tensor < workers),
            "recompute": recompute,
        }
        yield replace(run, workers=workers, layout=run.layout.model_copy(update=changes))


def _possible(run: Run, device: Device) -> bool:
    problems = impossible(run.layout, run.model, run.workers, device.is_gpu, run.lora_rank)
    return not any(problems) and run.microbatches % run.copies == 0


# Memory


def _memory(run: Run, first: bool, last: bool) -> Memory:
    """What a worker of one stage holds."""
    parameters, layout = stage(run, first, last), run.layout
    held = sum(each.on_one(layout.tensor) for each in parameters)
    trained = sum(each.on_one(layout.tensor) for each in parameters if each.trained)
    moments_and_weights = 8 if layout.precision == "fp32" else 12  # below 32 bits, the optimizer's own weights
    return Memory(
        weights=held * run.bytes_per_number,
        gradients=trained * 4,  # added up and reduced in 32 bits
        optimizer=trained * (moments_and_weights / (run.copies if layout.distributed_optimizer else 1) + 4),
        activations=_activations(run, first, last),
    )


def _activations(run: Run, first: bool, last: bool) -> float:
    """Bytes kept for the backward pass. A stage holds a microbatch for each stage from itself to the last."""
    layers, layer = run.model.layers // run.layout.pipeline, sum(_layer_numbers(run))
    if run.layout.recompute == "full":
        inputs = run.model.hidden / (run.layout.tensor if run.layout.sequence_parallel else 1)
        kept, again = layers * inputs, layer
    else:
        kept, again = layers * layer, 0.0
        if last and _last_is_short(run):
            kept -= layer - _last_layer_numbers(run)
    in_flight = min(run.layout.pipeline, run.microbatches // run.copies) if first else 1
    if run.model.architecture == "t5":  # what goes into the encoder's last norm, and what comes out of it
        kept += 2 * run.model.hidden
    numbers = run.microbatch_tokens * (in_flight * kept + again)
    return numbers * run.bytes_per_number + (_head_activations(run) if last else 0.0)


def _last_is_short(run: Run) -> bool:
    """Whether the last layer works for the queries alone, as in modeling.megatron.backbone."""
    shared = run.layout.sequence_parallel or run.layout.context > 1
    return run.model.architecture == "gpt" and not shared


def _last_layer_numbers(run: Run) -> float:
    """Of each token, where the last layer works for the queries alone."""
    model = run.model
    attention, mlp = _layer_numbers(run)
    spared = 2 + (model.positions == "rotary") - model.qk_norm  # what attention reads and gives, and what it rotates
    queries = spared * model.heads * model.width / run.layout.tensor
    return attention - queries + QUERIES * (mlp + queries)


def _layer_numbers(run: Run) -> tuple[float, float]:
    """Numbers that a layer's attention and its multilayer perceptron keep of each token: Korthikanti et al.'s list, as
    PyTorch's unfused layers come to it.

    A T5's padding is among the tokens: its prompts lie side by side, and short ones are as long as the longest.
    """
    model, tensor = run.model, run.layout.tensor
    queries, keys = model.heads * model.width, model.groups * model.width
    alike = 2 * model.hidden  # what goes into a norm, and what comes out of it
    split = queries + 2 * keys + 2 * queries  # what attention reads; what it gives, and that packed again
    if model.norm == "rms" and not run.lora_rank:  # normalised, for the weight to learn
        alike += model.hidden
        split += (queries + keys) if model.qk_norm else 0
    if model.dropout:
        alike += model.hidden
    angles = 4 * model.width if model.positions == "rotary" else 0  # sines and cosines, for queries and for keys
    split += (queries + keys) if angles else 0  # rotated
    if model.architecture == "t5":  # attention with a learned bias is not fused; what the decoder reads of each token
        split += model.heads * run.longest + 3 * keys
    norm = alike / (tensor if run.layout.sequence_parallel else 1)
    mlp = model.ffn * (5 if model.gated else 1 if model.activation == "relu" else 2)
    return split / tensor + norm + angles, mlp / tensor + norm


def _head_activations(run: Run) -> float:
    """Bytes: scores of the items and their sales; of each query two widths of each layer of its networks, and what the
    waits keep of each interval; of each query with an item met before it, features and four widths of its network."""
    queries = QUERIES * run.microbatch_tokens
    trends = 1 + len(WINDOWS)
    scores = (2 + trends) * 4 * queries * run.items / run.layout.tensor  # 32-bit exponentials, and later their gradient
    customers = queries * (6 * run.model.habit_width * run.bytes_per_number + PER_INTERVAL * len(FROM))
    pairs = queries * MET * run.longest / run.layout.tensor
    return (
        scores
        + customers
        + pairs * ((len(OF_ITEMS) + len(OF_SALES) + 4 * run.model.habit_width) * run.bytes_per_number + BYTES_PER_PAIR)
    )


# Speed


def _busy(run: Run) -> float:
    """The share of time that a pipeline's stages have work: m / (m + p - 1) for m microbatches and p stages."""
    microbatches = run.microbatches // run.copies
    return microbatches / (microbatches + run.layout.pipeline - 1)


def _flops_per_token(run: Run) -> float:
    """Of a training step; a product of matrices takes 2 FLOPs forward and 2 backward for each of its factors to learn.

    A decoder's token attends to half of the longest prompt on average, an encoder's to all of it. What answers works at
    the queries only, and of a T5's decoder only the keys and values of each token count.
    """
    model, encoder = run.model, run.model.architecture == "t5"
    linear = sum(each.inputs * each.outputs for each in [*matrices(model), *(crossing(model)[1:2] if encoder else ())])
    attention = 2 * model.heads * model.width * run.longest * (1 if encoder else 0.5)
    habits = MET * run.longest * model.habit_width * (len(OF_ITEMS) + len(OF_SALES) + model.habit_width)
    head = QUERIES * (model.hidden * (run.items + model.hidden + model.habit_width) + habits)
    again = 1 if run.layout.recompute == "full" else 0
    learned = 0 if run.lora_rank else 1
    layer = (2 + again + learned) * linear + (3 + again) * attention
    spared = 0.0
    if _last_is_short(run):
        mlp = sum(each.inputs * each.outputs for each in matrices(model)[2:])
        spared = (1 - QUERIES) * ((2 + again + learned) * mlp + (3 + again) * attention)
    return float(2 * (model.layers * layer - spared + 3 * head))
