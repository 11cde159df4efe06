"""The numbers of parameters in tables 3 and 8 of the paper, and why they are what they are.

The paper counted with the profiler thop, which sees only the parameters of linear layers,
convolutions and LayerNorms that ran, and cut off after two decimals of a million. It missed:

* raw parameters: the position embedding of a ViT, the relative-position bias tables of a Swin;
* GroupNorms (the pyramid of a ViT);
* whatever the released code has and never runs, which this package does not have: a classifier,
  its norm, a class token with its place in the position embedding, upsampling layers in the head,
  and in Swin a second patch embedding.
"""

from math import prod

import pytest
from torch import nn

from icmformer.model import network_without_weights
from icmformer.upstream_checkpoint import rename
from icmformer.variants import variant_config
from tests import golden_networks

PAPER = [
    # table 3
    ("vit_base", 3, 124.81),
    ("swin_small", 8, 68.14),
    ("swin_base", 4, 104.25),
    # table 8
    ("vit_base", 1, 105.90),
    ("vit_base", 2, 115.36),
    ("vit_base", 6, 153.16),
    ("vit_base", 8, 172.07),
    ("swin_base", 1, 91.64),
    ("swin_base", 2, 95.84),
    ("swin_base", 6, 112.66),
    ("swin_base", 8, 121.06),
]
RELEASED = {
    "vit_b_448": ("vit_base", {}, 126_380_841),
    "vit_l_448": ("vit_large", {}, 408_189_737),
    "vit_h_448": ("vit_huge", {}, 819_617_113),
    "swin_s_224": ("swin_small", {}, 68_305_867),
    "swin_s_224_ca4": ("swin_small", {"num_cross_blocks": 4}, 58_839_499),
    "swin_b_384": ("swin_base", {"num_cross_blocks": 8}, 121_459_833),
    "swin_b_384_ca4": ("swin_base", {}, 104_643_705),
}


def unseen_by_the_profiler(model):
    yield from (p for name, p in model.named_parameters() if name.endswith("position_embedding"))
    yield from (p for name, p in model.named_parameters() if name.endswith("bias_table"))
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            yield from module.parameters()


@pytest.mark.parametrize(("name", "blocks", "millions"), PAPER)
def test_the_counts_of_tables_3_and_8(name, blocks, millions):
    model = network_without_weights(variant_config(name, num_cross_blocks=blocks))

    functional = sum(p.numel() for p in model.parameters())
    seen = functional - sum(p.numel() for p in unseen_by_the_profiler(model))

    assert seen // 10_000 == round(100 * millions)


@pytest.mark.parametrize("network", RELEASED)
def test_parameters_are_those_of_the_released_code_without_the_unused(network):
    name, overrides, released = RELEASED[network]
    model = network_without_weights(variant_config(name, **overrides))
    plain_vit = model.config.backbone == "vit"
    shapes = golden_networks.shapes(network)
    used = {rename(key, plain_vit): shape for key, shape in shapes.items()}
    used.pop(None)
    if plain_vit:  # the entry of the class token
        batch, length, dim = used["backbone.position_embedding"]
        used["backbone.position_embedding"] = (batch, length - 1, dim)

    assert sum(map(prod, shapes.values())) == released
    assert used == {key: tuple(p.shape) for key, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_base", 9_451_776),
        ("vit_large", 16_796_672),
        ("vit_huge", 26_238_720),
        ("swin_base", 4_204_032),
        ("swin_small", 2_366_592),
    ],
)
def test_the_size_of_a_cross_modality_block(name, size):
    model = network_without_weights(variant_config(name, num_cross_blocks=1))
    block = model.backbone.cross_modality.blocks[0]
    dim = block.norm1.normalized_shape[0]

    assert sum(p.numel() for p in block.parameters()) == size == 16 * dim * dim + 19 * dim


def test_the_starter_has_eight_million():
    model = network_without_weights(variant_config("starter"))

    assert sum(p.numel() for p in model.parameters()) == 8_111_815
