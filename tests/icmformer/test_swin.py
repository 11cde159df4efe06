"""The Swin backbone against the original's definition, beyond what timm or the fixtures reach."""

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer

from icmformer import build_model


@pytest.fixture
def backbone():
    backbone = build_model("tiny_swin").backbone.eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias_table"):
            torch.nn.init.normal_(parameter)  # large enough to be seen
    return backbone


def original_window_attention(block, tokens):
    """Pad, shift, attend window by window, shift back, crop; as in the original Swin, by loops."""
    height, width, channels = tokens.shape
    size, shift = block.window_size, block.shift
    rows, columns = -(-height // size) * size, -(-width // size) * size
    padded = torch.zeros(rows, columns, channels)
    padded[:height, :width] = tokens
    shifted = padded.roll((-shift, -shift), (0, 1))
    # tokens that the shift brought together from opposite borders do not see each other
    row_regions = torch.bucketize(
        torch.arange(rows), torch.tensor([rows - size, rows - shift]), right=True
    )
    column_regions = torch.bucketize(
        torch.arange(columns), torch.tensor([columns - size, columns - shift]), right=True
    )
    regions = 3 * row_regions[:, None] + column_regions[None, :]
    attended = torch.zeros_like(shifted)
    for top in range(0, rows, size):
        for left in range(0, columns, size):
            window = (slice(top, top + size), slice(left, left + size))
            ids = regions[window].flatten()
            mask = -100.0 * (ids[:, None] != ids[None, :])
            inside = attend(block.attn, shifted[window].flatten(0, 1), mask if shift else 0)
            attended[window] = inside.view(size, size, channels)
    return attended.roll((shift, shift), (0, 1))[:height, :width]


def attend(attention, tokens, mask):
    """Attention of the tokens (N, C) of one window, its bias looked up pair by pair."""
    size = attention.window_size
    queries, keys, values = attention.qkv(tokens).chunk(3, dim=-1)
    places = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    offsets = places[:, None] - places[None, :] + size - 1
    bias = attention.relative_position_bias_table[
        offsets[..., 0] * (2 * size - 1) + offsets[..., 1]
    ]
    dim = queries.shape[-1] // attention.num_heads
    heads = []
    for head in range(attention.num_heads):
        channels = slice(head * dim, (head + 1) * dim)
        scores = queries[:, channels] @ keys[:, channels].T / dim**0.5 + bias[..., head] + mask
        heads.append(scores.softmax(-1) @ values[:, channels])
    return attention.proj(torch.cat(heads, dim=-1))


@pytest.mark.parametrize("size", [(8, 8), (6, 11), (4, 4), (3, 2), (1, 5)])
@pytest.mark.parametrize("index", [0, 1], ids=["unshifted", "shifted"])
def test_maps_are_padded_before_they_are_shifted(backbone, index, size):
    block = backbone.stages[0].blocks[index]
    tokens = torch.randn(1, *size, 16)

    changed = block(tokens)

    expected = tokens[0] + original_window_attention(block, block.norm1(tokens[0]))
    expected = expected + block.mlp(block.norm2(expected))
    torch.testing.assert_close(changed[0], expected)


def test_where_nothing_is_padded_the_stages_are_those_of_timm(backbone):
    theirs = SwinTransformer(
        img_size=64,
        embed_dim=16,
        depths=(2, 1, 2, 1),
        num_heads=(1, 2, 4, 8),
        window_size=4,
        always_partition=True,
        drop_path_rate=0.0,
    ).eval()
    weights = {}
    for name in theirs.state_dict():
        stage, separator, rest = name.removeprefix("layers.").partition(".downsample.")
        if separator:
            weights[name] = f"stages.{int(stage) - 1}.downsample.{rest}"
        elif name.startswith(("layers.", "patch_embed.")):
            weights[name] = name.replace("layers.", "stages.")
    ours = backbone.state_dict()
    theirs.load_state_dict(
        {name: ours[our_name] for name, our_name in weights.items()}, strict=False
    )
    image = torch.rand(1, 3, 64, 64)

    features = backbone.encode_image(image)

    expected = theirs.layers[1](theirs.layers[0](theirs.patch_embed(image)))
    expected = theirs.layers[2].downsample(expected)
    torch.testing.assert_close(features.tokens, expected.flatten(1, 2))
    torch.testing.assert_close(features.embedding, theirs.patch_embed(image))


def test_the_skip_stream_is_the_sum_of_both_embeddings(backbone):
    image, guidance = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)

    quarter, eighth, *_ = backbone.fuse(backbone.encode_image(image), guidance)

    first, second = backbone.stages[:2]
    skip = first(backbone.patch_embed(image) + backbone.patch_embed(guidance))
    torch.testing.assert_close(quarter.permute(0, 2, 3, 1), backbone.norms[0](skip))
    skip = second(first.downsample(skip))
    torch.testing.assert_close(eighth.permute(0, 2, 3, 1), backbone.norms[1](skip))


def test_stochastic_depth_acts_in_training_only():
    backbone = build_model("tiny_swin", drop_path=0.9).backbone
    image = torch.rand(4, 3, 64, 64)

    assert not torch.equal(backbone.encode_image(image).tokens, backbone.encode_image(image).tokens)
    backbone.eval()
    assert torch.equal(backbone.encode_image(image).tokens, backbone.encode_image(image).tokens)


def test_linear_layers_start_small(backbone):
    weights = torch.cat([stage.blocks[0].mlp.fc1.weight.flatten() for stage in backbone.stages])

    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert backbone.stages[0].blocks[0].mlp.fc1.bias.abs().max() == 0


def test_stochastic_depth_leaves_out_the_changes_of_some_samples_and_scales_up_the_others():
    block = build_model("tiny_swin", drop_path=0.5).backbone.stages[-1].blocks[-1]
    assert block.drop_path == 0.5
    change = torch.ones(400, 2, 2, 3)

    factors = block.train()._drop(change)[:, 0, 0, 0]

    assert set(factors.tolist()) == {0.0, 2.0}
    assert 0.35 < (factors == 0).float().mean() < 0.65
    torch.testing.assert_close(block.eval()._drop(change), change)
