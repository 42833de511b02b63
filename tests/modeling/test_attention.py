"""Our own ways to attention, rotation and dropout give what PyTorch's and Megatron's give, and their gradients."""

import pytest
import torch
from megatron.core.models.common.embeddings.rope_utils import _apply_rotary_pos_emb_bshd
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from modeling.blocks import BLOCK, attention_by_blocks
from modeling.dropout import Dropout, bias_dropout_add
from modeling.rotary import Rotation


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


def test_dropout_drops_its_share_and_scales_up_the_rest() -> None:
    torch.manual_seed(5)
    values = torch.ones(1_000_001, requires_grad=True)
    dropout = Dropout(0.1)

    kept = dropout(values)
    kept.sum().backward()

    assert (kept == 0).float().mean().item() == pytest.approx(0.1, abs=0.002)
    assert kept.mean().item() == pytest.approx(1, abs=0.002)
    torch.testing.assert_close(values.grad, kept.detach())
    torch.testing.assert_close(dropout.eval()(values), values)


def test_dropout_follows_the_seed() -> None:
    values = torch.randn(3, 5)
    residual, bias = torch.randn(3, 5), torch.randn(5)

    def drop(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return bias_dropout_add(training=True, fused=False)((values, bias), residual, 0.5)

    assert torch.equal(drop(1), drop(1))
    assert not torch.equal(drop(1), drop(2))
    torch.testing.assert_close(bias_dropout_add(False, False)((values, bias), residual, 0.5), values + bias + residual)
