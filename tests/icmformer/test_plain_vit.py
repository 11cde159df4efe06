"""The plain ViT: positions, windows, and who sees whom."""

import numpy as np
import pytest
import torch

from icmformer import build_model
from icmformer.plain_vit import resize_position_embedding
from tests import golden_networks


def test_position_embeddings_are_resized_as_the_authors_do():
    source = golden_networks.golden_tensor("golden.pos_embed_14", (1, 197, 8))
    recorded = golden_networks.load("misc")["interp/pos_embed_14_to_28"]

    resized = resize_position_embedding(source[:, 1:], (14, 14), (28, 28))

    np.testing.assert_allclose(resized, recorded[:, 1:], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(source[:, :1], recorded[:, :1])  # the class token's stays


def test_position_embeddings_of_the_native_grid_are_used_as_they_are():
    embedding = torch.randn(1, 6, 4)

    assert resize_position_embedding(embedding, (2, 3), (2, 3)) is embedding


def windowed(**overrides):
    """A ViT that only ever attends inside windows of 4 × 4 patches of 8 pixels."""
    return build_model("tiny", global_every=9, num_cross_blocks=2, **overrides).backbone.eval()


def test_windowed_blocks_see_their_window_only():
    backbone = windowed()
    image = torch.rand(1, 3, 64, 96)
    changed = image.clone()
    changed[:, :, 40, 40] = 0  # second row, second column of 2 × 3 windows

    difference = backbone.encode_image(image).tokens - backbone.encode_image(changed).tokens

    by_window = difference.abs().amax(-1).view(6, 16).amax(-1)
    assert by_window.nonzero().flatten().tolist() == [4]


def test_clicks_stay_in_their_window_until_a_block_is_global():
    backbone = windowed()
    features = backbone.encode_image(torch.rand(1, 3, 64, 64))
    guidance = torch.zeros(1, 3, 64, 64)
    clicked = guidance.clone()
    clicked[:, 1, 50, 10] = 1  # the bottom left window

    fused = {}
    for name, maps in (("without", guidance), ("with", clicked)):
        handle = backbone.blocks[-1].register_forward_hook(
            lambda _module, _inputs, output, name=name: fused.update({name: output})
        )
        backbone.fuse(features, maps)
        handle.remove()

    by_window = (fused["with"] - fused["without"]).abs().amax((-1, -2))
    assert by_window.nonzero().flatten().tolist() == [2]


def test_every_so_many_blocks_one_is_global_and_cross_blocks_count_anew():
    backbone = build_model("tiny", depths=(3, 3), global_every=3, num_cross_blocks=7).backbone
    sequences = []
    for block in (*backbone.blocks, *backbone.cross_modality.blocks):
        block.register_forward_pre_hook(
            lambda _module, inputs: sequences.append(tuple(inputs[0].shape[:2]))
        )
    guidance = torch.rand(1, 3, 64, 64)

    backbone.fuse(backbone.encode_image(torch.rand(1, 3, 64, 64)), guidance)

    local, everywhere = (4, 16), (1, 64)
    group = [local, local, everywhere]
    image, clicks, cross, second = group, group, [*group, *group, local], group
    assert sequences == [*image, *clicks, *cross, *second]


def test_windows_grow_until_they_divide_the_grid():
    backbone = windowed()
    sequences = []
    backbone.blocks[0].register_forward_pre_hook(
        lambda _module, inputs: sequences.append(tuple(inputs[0].shape[:2]))
    )

    backbone.encode_image(torch.rand(1, 3, 80, 56))  # 10 × 7 patches: two windows of 5, one of 7

    assert sequences == [(2, 35)]


def test_clicks_that_skip_the_first_group_arrive_as_they_are_embedded():
    backbone = build_model("tiny", share_first_group_with_clicks=False).backbone
    calls = []
    backbone.blocks[0].register_forward_hook(lambda *_: calls.append(1))

    features = backbone.encode_image(torch.rand(1, 3, 64, 64))
    backbone.fuse(features, torch.rand(1, 3, 64, 64))

    assert len(calls) == 1


def test_initialisation_is_that_of_mae():
    backbone = build_model("tiny", embed_dim=128).backbone

    assert backbone.position_embedding.std().item() == pytest.approx(0.02, rel=0.05)
    for weight in (backbone.blocks[0].mlp.fc1.weight, backbone.image_embed.proj.weight.flatten(1)):
        bound = (6 / sum(weight.shape)) ** 0.5  # Xavier, uniform
        assert 0.98 * bound < weight.abs().max() <= bound
    assert backbone.blocks[0].mlp.fc1.bias.abs().max() == 0
