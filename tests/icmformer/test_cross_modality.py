"""Cross-modality blocks against the formulas of the paper, written out."""

import pytest
import torch
from torch.nn import functional as F

from icmformer.cross_modality import CrossAttention, CrossModality, CrossModalityBlock

DIM, HEADS = 12, 3


def everything(tokens, index):
    return tokens


def attention(module, queries_from, keys_values_from):
    """Equation 1 or 2, one head after the other, projecting everything with everything."""
    queries = module.qkv(queries_from)[..., :DIM]
    keys, values = module.qkv(keys_values_from)[..., DIM:].split(DIM, dim=-1)
    heads = []
    for head in range(HEADS):
        channels = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
        scores = queries[..., channels] @ keys[..., channels].transpose(-2, -1)
        heads.append((scores / (DIM / HEADS) ** 0.5).softmax(-1) @ values[..., channels])
    return module.proj(torch.cat(heads, dim=-1))


def updated(block, guided, source):
    guided = guided + attention(block.self_attention, block.norm1(guided), block.norm1(guided))
    guided = guided + attention(block.cross_attention, block.norm2(guided), block.norm2(source))
    hidden = F.gelu(block.mlp.fc1(block.norm3(guided)))
    return guided + block.mlp.fc2(hidden)


def test_cross_attention_is_equation_2():
    module = CrossAttention(DIM, HEADS)
    tokens, source = torch.randn(2, 5, DIM), torch.randn(2, 7, DIM)

    attended = module(tokens, module.keys_values(source))

    torch.testing.assert_close(attended, attention(module, tokens, source))


def test_a_block_is_self_attention_then_cross_attention_then_a_feed_forward_network():
    block = CrossModalityBlock(DIM, HEADS, norm_eps=1e-5)
    tokens, source = torch.randn(2, 5, DIM), torch.randn(2, 7, DIM)

    torch.testing.assert_close(
        block(tokens, block.keys_values(source)), updated(block, tokens, source)
    )


@pytest.mark.parametrize("direction", ["image_to_clicks", "clicks_to_image"])
def test_one_stream_is_guided_the_other_only_read_and_both_are_added(direction):
    stage = CrossModality(DIM, HEADS, 2, direction, norm_eps=1e-5)
    image, clicks = torch.randn(2, 5, DIM), torch.randn(2, 5, DIM)

    fused = stage(image, clicks, stage.image_keys_values(image, everything), everything)

    first, second = stage.blocks
    if direction == "image_to_clicks":
        expected = image + updated(second, updated(first, clicks, image), image)
    else:
        expected = clicks + updated(second, updated(first, image, clicks), clicks)
    torch.testing.assert_close(fused, expected)


def test_as_the_paper_writes_it_the_clicks_attend_to_themselves_and_the_image_reads_them():
    """Section 3.2: self-attention on Y, cross-attention of X's queries with Y, then the FFN."""
    stage = CrossModality(DIM, HEADS, 2, "figure_3b", norm_eps=1e-5)
    image, clicks = torch.randn(2, 5, DIM), torch.randn(2, 5, DIM)

    fused = stage(image, clicks, stage.image_keys_values(image, everything), everything)

    for block in stage.blocks:
        own = block.norm1(clicks)
        clicks = clicks + attention(block.self_attention, own, own)
        image = image + attention(block.cross_attention, block.norm2(image), block.norm2(clicks))
        image = image + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm3(image))))
    torch.testing.assert_close(fused, image + clicks)


def test_without_blocks_the_streams_are_added():
    stage = CrossModality(DIM, HEADS, 0, "image_to_clicks", norm_eps=1e-5)
    image, clicks = torch.randn(2, 5, DIM), torch.randn(2, 5, DIM)

    assert torch.equal(stage(image, clicks, (), everything), image + clicks)
