"""Our own ways to attention and rotation give what PyTorch's and Megatron's give, and their gradients."""

import pytest
import torch
from megatron.core.models.common.embeddings.rope_utils import _apply_rotary_pos_emb_bshd
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from modeling.blocks import BLOCK, attention_by_blocks
from modeling.megatron.rotary import Rotation


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
