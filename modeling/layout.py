"""How a model is spread over processes, typed once, and what cannot be spread so."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from modeling.settings import ModelSettings

VOCABULARY_MULTIPLE = 128


class LayoutSettings(BaseModel):
    """How the workers of a run share the work. What tensor x pipeline x context leave of them are data-parallel copies.

    Attributes:
        tensor: processes that share each layer's matrices, the vocabulary and the head's scores.
        pipeline: processes that hold some of the layers each.
        context: processes that share each sequence.
        sequence_parallel: whether what tensor parallelism repeats (norms, dropout) is split along the tokens.
        distributed_optimizer: whether data-parallel copies share the optimizer's state.
        recompute: whether activations are kept for the backward pass, or computed again layer by layer (full).
        precision: of parameters and activations; with bf16 and fp8 the optimizer keeps 32-bit parameters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor: Literal[1, 2, 4, 8, 16] = 1
    pipeline: int = Field(default=1, ge=1, le=256)
    context: int = Field(default=1, ge=1, le=64)
    sequence_parallel: bool = False
    distributed_optimizer: bool = False
    recompute: Literal["none", "full"] = "none"
    precision: Literal["fp32", "bf16", "fp8"] = "fp32"

    @property
    def tokens_multiple(self) -> int:
        """What the tokens of a pack must be a multiple of, so that each process holds as many, and in 8 bits as many as
        Transformer Engine wants: 8 rows forwards, 16 backwards."""
        shares = (self.tensor if self.sequence_parallel else 1) * (2 * self.context if self.context > 1 else 1)
        return shares * (16 if self.precision == "fp8" else 1)

    @property
    def compiles(self) -> bool:
        """Whether torch.compile understands a layer: collectives, recomputation and Transformer Engine stop it, and in
        32 bits there is no attention over a whole pack."""
        return self.tensor == self.context == 1 and self.recompute == "none" and self.precision == "bf16"

    @property
    def model_parallel(self) -> int:
        """Processes that hold one copy of the model together."""
        return self.tensor * self.pipeline * self.context


def padded(vocabulary: int) -> int:
    """Rows of the embedding for so many tokens: the same in every layout, and a multiple of every `tensor`."""
    return -(-vocabulary // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def usable(layout: LayoutSettings, workers: int, microbatches: int) -> int:
    """The most of these workers that can work together: whole copies of the model, which share the global batch evenly,
    or as it comes where `microbatches` is 0.

    0 where they are too few for one copy.
    """
    copies = (each for each in range(workers // layout.model_parallel, 0, -1) if microbatches % each == 0)
    return next(copies, 0) * layout.model_parallel


def impossible(
    layout: LayoutSettings, model: ModelSettings, workers: int, on_gpu: bool, lora_rank: int = 0
) -> Iterator[str]:
    """What cannot be, one sentence each."""
    if workers % layout.model_parallel:
        yield (
            f"{workers} worker{'s' if workers > 1 else ''} cannot hold whole copies of a model spread over "
            f"{layout.model_parallel} "
            f"(layout.tensor {layout.tensor} x layout.pipeline {layout.pipeline} x layout.context {layout.context})"
        )
    shared = {"heads": model.heads, "key_value_heads": model.groups, "ffn": model.ffn, "hidden": model.hidden}
    for name, count in shared.items():
        if count % layout.tensor:
            yield f"layout.tensor {layout.tensor} does not divide model.{name} {count}"
    if model.layers % layout.pipeline:
        yield f"layout.pipeline {layout.pipeline} does not divide model.layers {model.layers}"
    if layout.sequence_parallel and layout.tensor == 1:
        yield "layout.sequence_parallel splits what layout.tensor repeats: it needs layout.tensor above 1"
    if layout.pipeline > 1 and layout.distributed_optimizer:
        yield (
            "layout.pipeline above 1 with layout.distributed_optimizer: Megatron-core 0.16 would write the optimizer's "
            "state of the shared embeddings wrongly into snapshots; leave one of them out"
        )
    if model.architecture == "t5" and (layout.pipeline > 1 or layout.context > 1 or layout.sequence_parallel):
        yield "architecture t5 knows layout.tensor and copies, but no layout.pipeline, context or sequence_parallel"
    if model.architecture == "t5" and layout.precision == "fp8":
        yield "layout.precision fp8 pads packs with tokens that architecture t5 cannot read: use bf16"
    if layout.precision == "fp8" and lora_rank:
        yield "layout.precision fp8 and lora.rank do not go together: use bf16"
    if layout.precision == "fp8" and not (on_gpu and find_spec("transformer_engine")):
        yield "layout.precision fp8 needs a GPU and Transformer Engine, which are not both here: use bf16"
