"""What transformers knows a model of ours by: its class, its configuration, and the names of its parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from demand.errors import CheckpointError
from modeling.settings import ModelSettings
from modeling.weights import Correspondence, Renamed

LANGUAGE_HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Counterpart:
    """One family.

    Attributes:
        model: transformers' class.
        settings: from their configuration to our settings; raises CheckpointError for what GPTModel would do otherwise.
        config: from our settings and the size of the vocabulary to their configuration.
        words, words_again: the name of their input embedding, and other names of the same.
        head_scale: from their configuration to what the language head multiplies hidden states by.
        once, layers: correspondences outside of the layers, and of each layer.
    """

    model: type[PreTrainedModel]
    settings: Callable[[Any], ModelSettings]
    config: Callable[[ModelSettings, int], PretrainedConfig]
    words: str
    once: tuple[Correspondence, ...]
    layers: tuple[Correspondence, ...]
    words_again: tuple[str, ...] = ()
    head_scale: Callable[[Any], float] = lambda config: 1.0


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model as it was read.

    Attributes:
        weights: its parameters under its own names, as the counterpart knows them.
        parameters: how many numbers they are; a tied language head's count once.
    """

    counterpart: Counterpart
    settings: ModelSettings
    weights: dict[str, Tensor]
    tokenizer: Tokenizer
    parameters: int


def both(ours: str, theirs: str, transposed: bool = False) -> tuple[Renamed, Renamed]:
    """Weight and bias; a bias has nothing to transpose."""
    return Renamed(f"{ours}.weight", f"{theirs}.weight", transposed), Renamed(f"{ours}.bias", f"{theirs}.bias")


def refuse(config: Any, **expected: Any) -> None:
    """Raises CheckpointError where the configuration differs from what the Megatron model does."""
    for name, value in expected.items():
        found = getattr(config, name, value)
        if found != value:
            raise CheckpointError(f"{config.model_type} with {name}={found} is not supported, only {value}")
