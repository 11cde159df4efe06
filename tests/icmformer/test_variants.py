"""Configurations: what can be built, and what is refused with a sentence."""

import json

import pytest

from icmformer import MODEL_NAMES, ModelConfig, build_model
from icmformer.errors import ConfigError
from icmformer.model import network_without_weights
from icmformer.variants import VARIANTS, variant_config

# Every row of the paper's ablations, as overrides of a named size.
TABLE_4 = [
    ("vit_base", {"num_cross_blocks": 0}),
    ("swin_base", {"num_cross_blocks": 0}),
    ("vit_base", {}),
    ("swin_base", {}),
]
TABLE_5 = [
    ("vit_base", {"share_first_group_with_clicks": share, "cross_direction": direction})
    for share in (False, True)
    for direction in ("clicks_to_image", "figure_3b", "image_to_clicks")
]
TABLE_8 = [
    *(("vit_base", {"num_cross_blocks": n}) for n in (1, 2, 3, 6, 8)),
    *(("swin_base", {"num_cross_blocks": n}) for n in (1, 2, 4, 6, 8)),
]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_configuration_survives_json(name):
    config = VARIANTS[name]

    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(("name", "overrides"), [*TABLE_4, *TABLE_5, *TABLE_8], ids=str)
def test_every_row_of_the_ablations_can_be_built(name, overrides):
    model = network_without_weights(variant_config(name, **overrides))

    assert overrides.items() <= model.config.to_dict().items()


def test_the_paper_sizes():
    assert VARIANTS["vit_base"].num_cross_blocks == 3
    assert VARIANTS["vit_large"].num_cross_blocks == 5
    assert VARIANTS["vit_huge"].num_cross_blocks == 6
    assert VARIANTS["swin_base"].num_cross_blocks == 4
    assert VARIANTS["swin_small"].num_cross_blocks == 8
    assert build_model("tiny").input_size == (64, 64)


def test_stochastic_depth_rises_linearly_over_the_blocks_of_a_paper_size_swin():
    stages = network_without_weights(variant_config("swin_small")).backbone.stages
    blocks = [block for stage in stages for block in stage.blocks]

    rates = [block.drop_path for block in blocks]

    assert rates == pytest.approx([0.2 * i / 23 for i in range(24)])


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match="unknown model 'vit_giant'; known are vit_base"):
        build_model("vit_giant")
    with pytest.raises(ConfigError, match=r"unknown model \['tiny'\]; known are"):
        build_model(["tiny"])


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("tiny", {"num_cros_blocks": 1}, "unknown model setting 'num_cros_blocks'"),
        ("tiny", {"num_cross_blocks": -1}, "num_cross_blocks is -1"),
        ("tiny", {"embed_dim": "32"}, "embed_dim is '32'"),
        ("tiny", {"embed_dim": True}, "embed_dim is True"),
        ("tiny", {"depths": (2, 2, 2, 2)}, "depths has 4 entries; a vit has 2"),
        ("tiny", {"num_heads": (2,)}, "one entry for each of depths"),
        ("tiny", {"num_heads": (3, 3)}, "32 channels do not divide into 3 heads"),
        ("tiny", {"cross_heads": 5}, "32 channels do not divide into 5 cross_heads"),
        ("tiny_swin", {"depths": (1, 1, 10**9, 1)}, "depths .* more than 100 blocks"),
        ("tiny_swin", {"num_cross_blocks": 101}, "num_cross_blocks .* more than 100 blocks"),
        ("tiny_swin", {"window_size": 2000}, "window_size is 2000, more than 32 tokens"),
        ("tiny", {"input_size": (64, 64, 3)}, "not height and width"),
        ("tiny", {"input_size": 64}, "not a list of positive whole numbers"),
        ("tiny", {"input_size": (64, 72)}, "cannot be cut into windows"),
        ("tiny", {"click_radius": 20000}, "click_radius is 20000, more than 100 pixels"),
        ("tiny", {"input_size": (64, 4160)}, r"input_size \(64, 4160\) is larger than 4096 pixels"),
        ("tiny", {"global_every": 0}, "blocks that see the whole image"),
        ("tiny", {"pyramid_widths": (8, 16)}, "four entries"),
        ("tiny", {"drop_path": 0.1}, "for swin only"),
        ("tiny", {"cross_direction": "both"}, "cross_direction is 'both'"),
        ("tiny", {"head_init": "zeros"}, "head_init is 'zeros'"),
        ("tiny", {"share_first_group_with_clicks": 1}, "not true or false"),
        ("tiny_swin", {"drop_path": 1.0}, "drop_path is 1.0"),
        ("tiny_swin", {"head_dropout": "none"}, "head_dropout is 'none'"),
        ("tiny_swin", {"global_every": 2}, "for vit only"),
        ("tiny_swin", {"share_first_group_with_clicks": False}, "for vit only"),
        ("tiny_swin", {"backbone": "resnet"}, "backbone is 'resnet'"),
    ],
)
def test_what_does_not_fit_is_refused(name, overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build_model(name, **overrides)


def test_a_missing_setting_is_refused():
    values = VARIANTS["tiny"].to_dict()
    del values["embed_dim"]

    with pytest.raises(ConfigError, match=r"incomplete.*embed_dim"):
        ModelConfig.from_dict(values)
