"""How parameters of transformers' decoders correspond to ours, one object a parameter, both ways from the same table.

A name may hold {layer}. Shapes: H query heads, G groups (heads of keys and values), W head width, D hidden width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from modeling.settings import ModelSettings


class Correspondence(Protocol):
    """One of our parameters and the parameters of theirs that hold the same numbers."""

    @property
    def ours(self) -> str: ...

    def read(self, theirs: Mapping[str, Tensor], settings: ModelSettings, layer: int = 0) -> Tensor:
        """Our parameter from theirs. Raises KeyError where one is missing."""
        ...

    def write(self, ours: Tensor, settings: ModelSettings, layer: int = 0) -> dict[str, Tensor]:
        """Their parameters from ours."""
        ...


@dataclass(frozen=True)
class Renamed:
    """The same numbers; GPT-2's Conv1D keeps its weights transposed."""

    ours: str
    theirs: str
    transposed: bool = False

    def read(self, theirs: Mapping[str, Tensor], settings: ModelSettings, layer: int = 0) -> Tensor:
        found = theirs[self.theirs.format(layer=layer)]
        return found.T if self.transposed else found

    def write(self, ours: Tensor, settings: ModelSettings, layer: int = 0) -> dict[str, Tensor]:
        return {self.theirs.format(layer=layer): ours.T if self.transposed else ours}


@dataclass(frozen=True)
class Split:
    """Queries, keys and values apart at theirs; interleaved by group at ours."""

    ours: str
    theirs: tuple[str, str, str]

    def read(self, theirs: Mapping[str, Tensor], settings: ModelSettings, layer: int = 0) -> Tensor:
        return interleaved([theirs[name.format(layer=layer)] for name in self.theirs], settings)

    def write(self, ours: Tensor, settings: ModelSettings, layer: int = 0) -> dict[str, Tensor]:
        parts = apart(ours, settings)
        return {name.format(layer=layer): part for name, part in zip(self.theirs, parts, strict=True)}


@dataclass(frozen=True)
class Joined:
    """All queries, then all keys, then all values in one transposed parameter at theirs, as in GPT-2's Conv1D."""

    ours: str
    theirs: str

    def read(self, theirs: Mapping[str, Tensor], settings: ModelSettings, layer: int = 0) -> Tensor:
        found = theirs[self.theirs.format(layer=layer)]
        return interleaved((found.T if found.dim() > 1 else found).chunk(3), settings)

    def write(self, ours: Tensor, settings: ModelSettings, layer: int = 0) -> dict[str, Tensor]:
        joined = torch.cat(apart(ours, settings))
        return {self.theirs.format(layer=layer): joined.T if joined.dim() > 1 else joined}


@dataclass(frozen=True)
class Stacked:
    """The gate and what it gates, apart at theirs, one over the other at ours."""

    ours: str
    theirs: tuple[str, str]

    def read(self, theirs: Mapping[str, Tensor], settings: ModelSettings, layer: int = 0) -> Tensor:
        return torch.cat([theirs[name.format(layer=layer)] for name in self.theirs])

    def write(self, ours: Tensor, settings: ModelSettings, layer: int = 0) -> dict[str, Tensor]:
        return {name.format(layer=layer): part for name, part in zip(self.theirs, ours.chunk(2), strict=True)}


@dataclass(frozen=True)
class Paired:
    """Keys and values of cross-attention, apart at theirs; interleaved by head at ours."""

    ours: str
    theirs: tuple[str, str]

    def read(self, theirs: Mapping[str, Tensor], settings: ModelSettings, layer: int = 0) -> Tensor:
        parts = [theirs[name.format(layer=layer)].unflatten(0, (settings.heads, -1)) for name in self.theirs]
        return torch.cat(parts, dim=1).flatten(0, 1)

    def write(self, ours: Tensor, settings: ModelSettings, layer: int = 0) -> dict[str, Tensor]:
        parts = ours.unflatten(0, (settings.heads, -1)).chunk(2, dim=1)
        return {name.format(layer=layer): part.flatten(0, 1) for name, part in zip(self.theirs, parts, strict=True)}


def interleaved(parts: list[Tensor] | tuple[Tensor, ...], settings: ModelSettings) -> Tensor:
    """(H W, …), (G W, …), (G W, …) -> ((H + 2 G) W, …): for each group its queries, its key, its value."""
    grouped = [part.reshape(settings.groups, -1, *part.shape[1:]) for part in parts]
    return torch.cat(grouped, dim=1).flatten(0, 1)


def apart(joined: Tensor, settings: ModelSettings) -> tuple[Tensor, ...]:
    """The inverse of `interleaved`."""
    grouped = joined.reshape(settings.groups, -1, *joined.shape[1:])
    queries = settings.heads // settings.groups * settings.width
    return tuple(part.flatten(0, 1) for part in grouped.split([queries, settings.width, settings.width], dim=1))
