"""Our own ways to attention and rotation give what PyTorch's and Megatron's give, and their gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from megatron.core.models.common.embeddings.rope_utils import _apply_rotary_pos_emb_bshd
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from demand.prompts import Prompt
from demand.record import Record
from modeling.batch import Batch
from modeling.blocks import BLOCK, attention_by_blocks
from modeling.megatron.backbone import read_packed
from modeling.megatron.model import DemandModel
from modeling.megatron.rotary import Rotation
from modeling.parallel import initialize
from modeling.settings import ModelSettings


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("tokens", [1, BLOCK, 2 * BLOCK + 37])
@pytest.mark.parametrize(("heads", "groups"), [(2, 2), (4, 2)])
def test_attention_by_blocks_is_causal_attention(tokens: int, heads: int, groups: int) -> None:
    inputs = [leaf(heads, tokens, 8), leaf(groups, tokens, 8), leaf(groups, tokens, 8)]
    upstream = torch.randn(heads, tokens, 8, dtype=torch.float64)

    ours = attention_by_blocks(*inputs, scale=0.3)
    (theirs,) = scaled_dot_product_attention(
        *(each[None] for each in inputs), is_causal=True, scale=0.3, enable_gqa=heads != groups
    )

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(theirs, inputs, upstream)
    )


def test_rotation_is_megatrons() -> None:
    heads_TNH, angles_T1H = leaf(7, 3, 10), torch.randn(7, 1, 5, dtype=torch.float64)
    rotation = Rotation(torch.cat([angles_T1H.cos()] * 2, -1), torch.cat([-angles_T1H.sin(), angles_T1H.sin()], -1))

    theirs = _apply_rotary_pos_emb_bshd(heads_TNH[:, None], torch.cat([angles_T1H] * 2, -1)[:, None])[:, 0]

    torch.testing.assert_close(rotation(heads_TNH), theirs)
    assert torch.autograd.gradcheck(rotation, (heads_TNH,))


def prompt(tokens: int, asked: list[int]) -> Prompt:
    """Any tokens, questions at these."""
    nothing = np.zeros(len(asked), dtype=np.int64)
    random = np.random.default_rng(tokens).integers(90, size=tokens)
    return Prompt(random, np.array(asked), nothing, nothing, Record.none(), nothing, [nothing[:0]] * len(asked))


@pytest.mark.parametrize("places", [None, 64])
def test_the_last_layer_answers_the_same_when_it_works_for_the_queries_alone(places: int | None) -> None:
    initialize(seed=4)
    positions = "learned" if places else "rotary"
    settings = ModelSettings(
        layers=2, hidden=32, heads=4, key_value_heads=2, ffn=48, dropout=0.0, positions=positions, places=places
    )
    model = DemandModel(settings, 90, 40)
    batch = Batch.from_prompts([prompt(23, [4, 11, 22]), prompt(9, []), prompt(17, [16])])
    upstream = torch.randn(len(batch.queries_R), settings.hidden)

    found = []
    for asked in (batch.queries_R, None):
        hidden = read_packed(model.core, batch, asked).squeeze(1)
        hidden = hidden[batch.queries_R] if asked is None else hidden
        found.append((hidden, torch.autograd.grad(hidden, list(model.core.parameters()), upstream)))

    (alone, its_gradients), (of_all, gradients) = found
    torch.testing.assert_close(alone, of_all)
    torch.testing.assert_close(its_gradients, gradients)


def test_a_prompt_longer_than_the_learned_places_ends_at_the_last_one() -> None:
    initialize(seed=4)
    model = DemandModel(ModelSettings(layers=1, hidden=32, heads=4, ffn=48, positions="learned", places=16), 90, 40)
    core = model.eval().core
    long = Batch.from_prompts([prompt(23, [22])])
    on_places = replace(long, places_T=long.places_T.clamp(max=15))

    torch.testing.assert_close(read_packed(core, long), read_packed(core, on_places))
