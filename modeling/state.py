"""Nested training state on disk: tensors in a safetensors file, all else in JSON. Reading it runs no code."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def save_state(state: Any, folder: Path, name: str) -> None:
    """Writes NAME.safetensors and NAME.json. `state` nests dictionaries, lists and tuples of tensors and JSON."""
    tensors: dict[str, Tensor] = {}
    structure = _encode(state, tensors)
    save_file(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(structure))


def load_state(folder: Path, name: str) -> Any:
    """The inverse of save_state; tuples come back as lists."""
    return _decode(json.loads((folder / f"{name}.json").read_text()), load_file(folder / f"{name}.safetensors"))


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = f"t{len(tensors)}"
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(value, dict):
        return {"dict": [[_encode(key, tensors), _encode(each, tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_encode(each, tensors) for each in value]}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    return value


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_decode(key, tensors): _decode(each, tensors) for key, each in content}
    if kind == "dtype":
        return getattr(torch, content)
    return [_decode(each, tensors) for each in content]
