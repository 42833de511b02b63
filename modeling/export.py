"""Export: a folder that Hugging Face transformers loads.

Every family of modeling.families goes out as it came in; a model from scratch is a GPT-NeoX without parallel residuals.
What transformers has no place for (habits, item biases, calibration) lies in the folder `demandcast` below: vLLM reads
every file of weights that it finds beside the model's.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from demand.errors import SettingsError
from demand.locations import Location, whole
from demand.vocabulary import CONTROL
from modeling.checkpoint import Checkpoint
from modeling.counterpart import LANGUAGE_HEAD
from modeling.families import COUNTERPARTS

OURS, HEAD = "demandcast", "head.safetensors"


def export_hf(checkpoint: Checkpoint, out: Location) -> None:
    """Makes a folder of config, weights and tokenizer, in place of an earlier one.

    The hidden states of the exported model equal ours. Its language-model head gives, over text tokens, what the
    pretrained model's gave, and over item tokens the part of an item's score that its embedding has, without biases.
    """
    if out.is_file() or (any(out.glob("*")) and not (out / OURS / HEAD).is_file()):
        raise SettingsError(f"{out} exists and is no earlier export: choose another --out")
    settings = checkpoint.settings
    counterpart = COUNTERPARTS[settings.family]
    config = counterpart.config(settings, len(checkpoint.vocabulary))
    config.tie_word_embeddings = False
    if settings.positions == "rotary":
        config.max_position_embeddings = 2 * checkpoint.prompt_format.history_tokens
    config.bos_token_id = config.eos_token_id = checkpoint.vocabulary.control["<start>"]
    model = counterpart.model(config)
    model.load_state_dict(written_weights(checkpoint))
    with whole(out) as folder:
        model.save_pretrained(folder)
        _tokenizer(checkpoint).save_pretrained(folder)
        _save_head(checkpoint, folder / OURS)


def _save_head(checkpoint: Checkpoint, folder: Path) -> None:
    """What transformers has no place for."""
    head = {
        name: tensor.contiguous()
        for name, tensor in checkpoint.weights.items()
        if name.startswith(("head.", "calendar."))
    }
    folder.mkdir()
    save_file(head, folder / HEAD)
    (folder / "calibration.json").write_text(checkpoint.calibration.model_dump_json(indent=2))


def written_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Their parameters from ours."""
    settings, weights = checkpoint.settings, checkpoint.weights
    counterpart = COUNTERPARTS[settings.family]
    words = dict.fromkeys((counterpart.words, *counterpart.words_again), weights[settings.words])
    theirs = {**words, LANGUAGE_HEAD: _language_model_head(checkpoint)}
    for each in counterpart.once:
        theirs |= each.write(weights[each.ours], settings)
    for layer in range(settings.layers):
        for each in counterpart.layers:
            theirs |= each.write(weights[each.ours.format(layer=layer)], settings, layer)
    return {name: tensor.contiguous() for name, tensor in theirs.items()}


def _language_model_head(checkpoint: Checkpoint) -> Tensor:
    """(vocabulary, D): text as the pretrained model scored it, items as DemandHead does by their embeddings."""
    words, first = checkpoint.weights[checkpoint.settings.words], checkpoint.vocabulary.first_item
    text = torch.zeros_like(words[:first])  # a model from scratch predicts no text
    if checkpoint.settings.language_head == "tied":
        text = words[:first]
    elif checkpoint.settings.language_head == "own":
        text = checkpoint.weights["language_head"]
    sold_V1 = torch.from_numpy(checkpoint.catalogue.orders > 0)[:, None]
    return torch.cat([text, words[first:] @ checkpoint.weights["head.vocabulary_query.weight"] * sold_V1])


def _tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerFast:
    """The text tokenizer with the control and item tokens added in the order of their ids."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=checkpoint.vocabulary.tokenizer)
    unused = [f"<unused-{place}>" for place in range(len(tokenizer), checkpoint.vocabulary.first_control)]
    added = [*unused, *CONTROL, *(f"<item:{item}>" for item in checkpoint.catalogue.item_ids)]
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in added])
    return tokenizer
