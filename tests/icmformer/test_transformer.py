"""The transformer's parts compute what timm's do, and take timm's weights by the same names."""

import pytest
import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block as TimmBlock

from icmformer.transformer import Block, PatchEmbedding


def test_a_block_is_timms():
    ours, theirs = Block(24, 3, norm_eps=1e-6), TimmBlock(24, 3, qkv_bias=True)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.load_state_dict(ours.state_dict())
    tokens = torch.randn(2, 7, 24)

    torch.testing.assert_close(ours(tokens), theirs(tokens))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("size", [(16, 24), (13, 21)])
def test_patches_are_timms(norm, size):
    ours = PatchEmbedding(8, 12, norm=norm)
    theirs = PatchEmbed(
        None, 8, 3, 12, norm_layer=torch.nn.LayerNorm if norm else None,
        output_fmt="NHWC", dynamic_img_pad=True,
    )  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    image = torch.rand(2, 3, *size)

    tokens = ours(image)

    assert tokens.shape == (2, 2, 3, 12)
    torch.testing.assert_close(tokens, theirs(image))
