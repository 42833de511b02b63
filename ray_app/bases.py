"""Pretrained models to start from: what is known of them before they are registered, and where they lie then."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from demand.errors import ModelNotFoundError
from ray_app.home import Home

if TYPE_CHECKING:
    from modeling.registry import ModelVersion


@dataclass(frozen=True)
class Base:
    """A pretrained model that a preset starts from: where `models import` finds it, and its text tokens."""

    source: str
    text_tokens: int


BASES = {
    "smollm2": Base("HuggingFaceTB/SmolLM2-135M", 49_152),
    "flan-t5-base": Base("google/flan-t5-base", 32_128),
    "llama3-8b": Base("meta-llama/Llama-3.1-8B", 128_256),
}
UNKNOWN_BASE = Base("PATH", 151_936)
"""Of any other name: as many tokens as the largest vocabulary of the known families has, Qwen's."""


def base_named(name: str) -> Base:
    """What is known of a base before it is registered; `name` may have an alias or a version."""
    return BASES.get(name.partition("@")[0], UNKNOWN_BASE)


def registered_base(name: str, home: Home) -> "ModelVersion":
    """The version that is named as a base.

    Raises:
        ModelNotFoundError: it is not registered; the message says how it would be.
    """
    from modeling.registry import Registry

    try:
        return Registry(home.folder).resolve(name)
    except ModelNotFoundError:
        command = f"demandcast models import {base_named(name).source} --name {name.partition('@')[0]}"
        raise ModelNotFoundError(f"base '{name}' is not registered: get it with '{command}'") from None
