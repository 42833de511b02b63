"""Pretrained models in: a Hugging Face folder, a GGUF file or a legacy Megatron-LM GPT-2, to train from.

Only tensors, JSON and tokenizer files are read: transformers is told to take safetensors, and to run no model's code.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from demand.catalogue import Catalogue
from demand.errors import CheckpointError
from demand.formats import prompt_format
from demand.tables import TABLES
from demand.vocabulary import CONTROL, Vocabulary
from modeling.checkpoint import Checkpoint
from modeling.counterpart import LANGUAGE_HEAD, Counterpart, Pretrained
from modeling.families import COUNTERPARTS
from modeling.legacy import read_legacy
from modeling.legacy_files import is_legacy
from modeling.megatron.model import DemandModel
from modeling.megatron.shards import whole_weights
from modeling.parallel import initialize
from modeling.settings import ModelSettings

PROMPT_FORMAT = "narrative"
"""What a model that knows plain text reads best."""


def import_pretrained(path: str) -> Checkpoint:
    """As import_hf, from a folder, a GGUF file, a folder that holds one, a legacy checkpoint, or a name on the hub."""
    folder = Path(path)
    if is_legacy(folder):
        return _checkpoint(read_legacy(folder), path)
    if folder.suffix == ".gguf" and folder.is_file():
        return import_hf(str(folder.parent), folder.name)
    files = sorted(folder.glob("*.gguf")) if not (folder / "config.json").is_file() else []
    return import_hf(path, files[0].name if len(files) == 1 else None)


def import_hf(source: str, gguf_file: str | None = None) -> Checkpoint:
    """A checkpoint without a catalogue: training adds one.

    Args:
        source: a folder, or a name on the hub where there is network.
        gguf_file: the name of a GGUF file in it, which transformers turns back into full weights.

    Raises:
        CheckpointError: it cannot be read, its family is not known, or a Megatron model would compute something else.
    """
    options: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {}
    try:
        config = AutoConfig.from_pretrained(source, **options)
        counterpart = _counterpart(config, source)
        settings = counterpart.settings(config)
        safe: dict[str, Any] = {} if gguf_file else {"use_safetensors": True}
        model = counterpart.model.from_pretrained(source, dtype=torch.float32, **options, **safe)
        tokenizer = AutoTokenizer.from_pretrained(source, **options).backend_tokenizer
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{source} cannot be imported: {str(error).splitlines()[0]}") from None
    theirs = model.state_dict()
    if LANGUAGE_HEAD in theirs:
        theirs[LANGUAGE_HEAD] = theirs[LANGUAGE_HEAD] * counterpart.head_scale(config)
    return _checkpoint(Pretrained(counterpart, settings, theirs, tokenizer, model.num_parameters()), source)


def _checkpoint(pretrained: Pretrained, source: str) -> Checkpoint:
    settings, tokenizer = pretrained.settings, pretrained.tokenizer
    text_size = len(pretrained.weights[pretrained.counterpart.words])
    vocabulary = Vocabulary(tokenizer, 0, max(text_size, tokenizer.get_vocab_size()))
    initial = _initial_weights(settings, vocabulary)
    weights = initial | read_weights(pretrained.counterpart, pretrained.weights, settings, vocabulary)
    for name, tensor in initial.items():
        if weights[name].shape != tensor.shape:
            raise CheckpointError(f"{name} has the shape {tuple(weights[name].shape)}, which does not fit the model")
    card = {"pretrained": {"source": source, "family": settings.family, "parameters": pretrained.parameters}}
    return Checkpoint(settings, prompt_format(PROMPT_FORMAT), vocabulary, _empty_catalogue(), weights, card=card)


def read_weights(
    counterpart: Counterpart, theirs: dict[str, Tensor], settings: ModelSettings, vocabulary: Vocabulary
) -> dict[str, Tensor]:
    """Our parameters from theirs.

    Raises:
        CheckpointError: a parameter is missing, or one is left over that the Megatron model has no place for.
    """
    unread = dict(theirs)
    weights: dict[str, Tensor] = {}
    try:
        weights[settings.words] = _extended(unread.pop(counterpart.words), vocabulary)
        for name in counterpart.words_again:
            unread.pop(name)
        head = unread.pop(LANGUAGE_HEAD, None)
        if settings.language_head == "own" and head is not None:
            weights["language_head"] = _extended(head, vocabulary)
        for each in counterpart.once:
            weights[each.ours] = each.read(theirs, settings)
        for layer in range(settings.layers):
            for each in counterpart.layers:
                weights[each.ours.format(layer=layer)] = each.read(theirs, settings, layer)
    except KeyError as error:
        raise CheckpointError(f"the pretrained model has no parameter {error}") from None
    for layer in range(settings.layers):
        for each in (*counterpart.once, *counterpart.layers):
            for name in each.write(weights[each.ours.format(layer=layer)], settings, layer):
                unread.pop(name, None)
    if unread:
        raise CheckpointError(f"the pretrained model has a parameter that would be lost: {min(unread)}")
    return weights


def _counterpart(config: Any, source: str) -> Counterpart:
    if config.model_type not in COUNTERPARTS:
        raise CheckpointError(
            f"{source} is of the family '{config.model_type}': known are {', '.join(sorted(COUNTERPARTS))}"
        )
    return COUNTERPARTS[config.model_type]


def _extended(rows_BD: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Rows of the text tokens, then of the control tokens, which start near the middle of all others."""
    generator = torch.Generator().manual_seed(0)
    new = vocabulary.first_control - len(rows_BD) + len(CONTROL)
    noise = torch.randn(new, rows_BD.shape[1], generator=generator) * rows_BD.std() * 0.1
    return torch.cat([rows_BD, rows_BD.mean(0) + noise])


def _initial_weights(settings: ModelSettings, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """The head, which at first asks for what the language model itself would say next."""
    initialize()
    model = DemandModel(settings, len(vocabulary), 0)
    with torch.no_grad():
        model.head.vocabulary_query.weight.copy_(torch.eye(settings.hidden))
        model.head.vocabulary_query.bias.zero_()
    return whole_weights(model)


def _empty_catalogue() -> Catalogue:
    figures = [("orders", pa.int64()), ("mean_quantity", pa.float64()), ("mean_amount", pa.float64())]
    return Catalogue(pa.schema([*TABLES["items"], *(pa.field(*each) for each in figures)]).empty_table())
