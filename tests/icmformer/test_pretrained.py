"""Pretrained backbones from local files, in every layout they come in."""

import argparse

import numpy as np
import pytest
import safetensors.torch
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

from icmformer import build_model
from icmformer.errors import CheckpointError
from icmformer.pretrained import load_pretrained_backbone, resize_bias_table
from tests import golden_networks

BIAS_TABLE = "layers.0.blocks.0.attn.relative_position_bias_table"


def vit(**overrides):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2}
    return VisionTransformer(**(sizes | overrides)).state_dict()


def swin(**overrides):
    sizes = {"img_size": 64, "embed_dim": 16, "depths": (2, 1, 2, 1), "num_heads": (1, 2, 4, 8)}
    model = SwinTransformer(**(sizes | {"window_size": 4, "always_partition": True} | overrides))
    weights = model.state_dict()
    for name, tensor in weights.items():
        if name.endswith("bias_table"):
            torch.nn.init.normal_(tensor)
    return weights


def saved(tmp_path, content, name="weights.pth"):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def untouched(model, before):
    after = model.state_dict()
    return {name for name in before if torch.equal(before[name], after[name])}


def copy_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("layout", ["weights.safetensors", "weights.pth", "mae"])
def test_a_plain_vit(tmp_path, layout):
    model, weights = build_model("tiny"), vit()
    before = copy_of(model)
    if layout == "mae":
        path = saved(tmp_path, {"model": weights | {"mask_token": torch.ones(1, 1, 32)}})
    else:
        path = saved(tmp_path, weights, layout)

    load_pretrained_backbone(model, path)

    after = model.state_dict()
    for name in ("blocks.3.attn.qkv.weight", "blocks.0.norm1.bias", "blocks.1.mlp.fc2.bias"):
        assert torch.equal(after[f"backbone.{name}"], weights[name])
    image_embed = after["backbone.image_embed.proj.weight"]
    assert torch.equal(image_embed, weights["patch_embed.proj.weight"])
    kept = ("backbone.cross_modality.", "backbone.click_embed.", "backbone.pyramid.", "head.")
    assert {name for name in before if name.startswith(kept)} <= untouched(model, before)


def test_positions_are_resized_without_the_class_token(tmp_path):
    model, weights = build_model("tiny"), vit()

    load_pretrained_backbone(model, saved(tmp_path, weights))

    grid = weights["pos_embed"][:, 1:].view(4, 4, 32)
    expected = torch.nn.functional.interpolate(
        grid.permute(2, 0, 1)[None], size=(8, 8), mode="bicubic", align_corners=False
    )
    resized = model.backbone.position_embedding[0].view(8, 8, 32).permute(2, 0, 1)
    torch.testing.assert_close(resized, expected[0])


@pytest.mark.parametrize("layout", ["timm", "official", "wrapped", "encoder"])
def test_a_swin_in_timms_and_in_the_official_layout(tmp_path, layout):
    model, weights = build_model("tiny_swin"), swin()
    before = copy_of(model)
    reduction = weights["layers.2.downsample.reduction.weight"]
    content = dict(weights)
    if layout != "timm":  # there the merging belongs to the stage before it
        content = {official(name): tensor for name, tensor in weights.items()}
        content["layers.0.blocks.1.attn_mask"] = torch.ones(4, 16, 16)
        content["layers.0.blocks.1.attn.relative_position_index"] = torch.ones(16, 16)
    if layout == "wrapped":
        content = {"state_dict": {f"module.{name}": t for name, t in content.items()}}
    if layout == "encoder":
        content = {"model": {f"encoder.{name}": t for name, t in content.items()}}
        content["model"]["decoder.0.weight"] = torch.ones(1)

    load_pretrained_backbone(model, saved(tmp_path, content))

    after = model.state_dict()
    assert torch.equal(after["backbone.stages.1.downsample.reduction.weight"], reduction)
    table = "blocks.0.attn.relative_position_bias_table"
    assert torch.equal(after[f"backbone.stages.2.{table}"], weights[f"layers.2.{table}"])
    kept = ("backbone.cross_modality.", "backbone.norms.", "head.")
    assert {name for name in before if name.startswith(kept)} <= untouched(model, before)


def official(name):
    stage, separator, rest = name.removeprefix("layers.").partition(".downsample.")
    return f"layers.{int(stage) - 1}.downsample.{rest}" if separator else name


def test_bias_tables_of_another_window_are_resized(tmp_path):
    model, weights = build_model("tiny_swin", window_size=3), swin()

    load_pretrained_backbone(model, saved(tmp_path, weights))

    table = "blocks.0.attn.relative_position_bias_table"
    resized = model.state_dict()[f"backbone.stages.2.{table}"]
    torch.testing.assert_close(resized, resize_bias_table(weights[f"layers.2.{table}"], 3))


def test_bias_tables_are_resized_as_the_authors_do():
    source = golden_networks.golden_tensor("golden.relative_position_bias_table_w12", (529, 3))
    recorded = golden_networks.load("misc")["interp/bias_table_23_to_13"]

    np.testing.assert_allclose(resize_bias_table(source, 7), recorded, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "weights", "sentence"),
    [
        ("tiny", lambda: vit(embed_dim=64), r"has shape \(1, 64, 64\) instead"),
        ("tiny", lambda: vit(depth=3), "tensors are missing, the first is backbone.blocks.3"),
        ("tiny", lambda: vit(depth=5), "tensors are unknown, the first is backbone.blocks.4"),
        ("tiny", lambda: vit(patch_size=16), "image_embed.proj.weight has shape"),
        ("tiny", swin, "another kind"),
        ("tiny_swin", vit, "another kind"),
        ("tiny_swin", lambda: {"model": 3}, "something else than the weights"),
        ("tiny_swin", lambda: [torch.ones(1)], "something else than the weights"),
        ("tiny", lambda: vit() | {"blocks.0.norm1.bias": torch.ones(32).int()}, "no plain array"),
        ("tiny", lambda: {1: torch.ones(1)}, "something else than the weights"),
        ("tiny", lambda: {"pos_embed": torch.ones(())}, "cannot be resized"),
        ("tiny", lambda: {"pos_embed": torch.ones(16, 32)}, "cannot be resized"),
        ("tiny", lambda: {"pos_embed": torch.ones(1, 0, 32)}, "cannot be resized"),
        ("tiny", lambda: {"pos_embed": torch.ones(1, 4, 4, 32)}, "cannot be resized"),
        ("tiny_swin", lambda: {BIAS_TABLE: torch.ones(())}, "cannot be resized"),
        ("tiny_swin", lambda: {BIAS_TABLE: torch.ones(25)}, "cannot be resized"),
        ("tiny_swin", lambda: {BIAS_TABLE: torch.ones(732, 12)}, "cannot be resized"),  # a BEiT
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, name, weights, sentence):
    path = saved(tmp_path, weights())
    model = build_model(name)
    before = copy_of(model)

    with pytest.raises(CheckpointError, match=rf"weights\.pth: .*{sentence}"):
        load_pretrained_backbone(model, path)

    assert untouched(model, before) == before.keys()


@pytest.mark.parametrize(
    ("name", "pretrained", "tensor"),
    [
        ("tiny", vit, "blocks.3.norm1.bias"),
        ("tiny", vit, "pos_embed"),
        ("tiny_swin", swin, "layers.0.blocks.1.attn.relative_position_bias_table"),
    ],
)
def test_weights_that_are_not_finite_are_refused(tmp_path, name, pretrained, tensor):
    weights, model = pretrained(), build_model(name)
    weights[tensor].view(-1)[-1] = float("nan")
    before = copy_of(model)

    with pytest.raises(CheckpointError, match=r"weights\.pth: backbone\..* that are not finite"):
        load_pretrained_backbone(model, saved(tmp_path, weights))

    assert untouched(model, before) == before.keys()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"not weights at all")

    with pytest.raises(CheckpointError, match=f"{name}: no pretrained weights could be read"):
        load_pretrained_backbone(build_model("tiny"), path)


def test_a_file_that_would_run_code_is_refused_with_what_to_do(tmp_path):
    path = saved(tmp_path, {"model": vit(), "args": argparse.Namespace(epochs=3)})

    with pytest.raises(CheckpointError, match=r"holds more than tensors.*: save its weights alone"):
        load_pretrained_backbone(build_model("tiny"), path)


def test_an_unknown_name_is_refused_without_asking_the_hub():
    with pytest.raises(CheckpointError, match=r"vit_unheard_of: .*a name on timm's hub"):
        load_pretrained_backbone(build_model("tiny"), "vit_unheard_of")
