"""The authors' checkpoint files: read without their package, and without running what is inside."""

import os
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from icmformer import build_model, upstream_checkpoint
from icmformer.errors import CheckpointError
from icmformer.variants import VARIANTS
from tests import golden_networks
from tests.authors_files import PLAIN_VIT, SWIN, config, save_swin_small, small_vit

LOSS_MODULE = "isegm.model.modeling.transformer_helper.cross_entropy_loss"


@pytest.fixture
def loss(monkeypatch):
    """An instance of a loss class of a package that is gone when the file is read."""
    module = types.ModuleType(LOSS_MODULE)
    parts = LOSS_MODULE.split(".")
    for length in range(1, len(parts)):
        name = ".".join(parts[:length])
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, LOSS_MODULE, module)

    def cross_entropy():
        raise AssertionError("was called")

    class CrossEntropyLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.loss_weight = 1.0
            self.cls_criterion = cross_entropy

        def __setstate__(self, state):
            raise AssertionError("was called")

    for thing in (cross_entropy, CrossEntropyLoss):
        thing.__module__, thing.__qualname__ = LOSS_MODULE, thing.__name__
        setattr(module, thing.__name__, thing)
    return CrossEntropyLoss()


def test_a_file_of_a_plain_vit(tmp_path, loss):
    path = tmp_path / "last_checkpoint.pth"
    content = config(
        PLAIN_VIT,
        use_disks=True,
        norm_radius=4,
        with_prev_mask=True,
        norm_mean_std=([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        backbone_params={"num_heads": 4},
        head_params={"loss_decode": loss, "align_corners": False},
    )
    state_dict = small_vit()
    torch.save({"state_dict": state_dict, "config": content}, path)
    forget_authors_package()

    model = upstream_checkpoint.load(path)

    assert model.config.num_heads == (4, 4)
    assert model.config.click_radius == 4
    assert model.config.input_size == (224, 224)
    assert not model.training
    ours = model.state_dict()
    for theirs, name in {
        "patch_embed_coords.proj.weight": "backbone.click_embed.proj.weight",
        "backbone.patch_embed.proj.weight": "backbone.image_embed.proj.weight",
        "backbone.blocks2.2.attn2.qkv.bias": (
            "backbone.cross_modality.blocks.2.cross_attention.qkv.bias"
        ),
        "neck.down_32.3.bias": "backbone.pyramid.thirtysecond.3.bias",
        "head.fusion_conv.conv.weight": "head.fusion.weight",
    }.items():
        assert torch.equal(state_dict[theirs], ours[name])
    assert torch.equal(state_dict["backbone.pos_embed"][:, 1:], ours["backbone.position_embedding"])


def test_threads_may_load_at_the_same_time(tmp_path, loss):
    path = tmp_path / "last_checkpoint.pth"
    content = config(PLAIN_VIT, backbone_params={"num_heads": 4}, head_params={"loss": loss})
    torch.save({"state_dict": small_vit(), "config": content}, path)
    forget_authors_package()

    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(upstream_checkpoint.load, [path] * 24))

    assert len(models) == 24


@pytest.mark.parametrize(
    ("recorded", "size"), [({"pretrain_img_size": 224}, 224), ({}, 384)], ids=["recorded", "guess"]
)
def test_the_released_swin_small_of_coco_lvis_has_large_windows_at_224_pixels(
    tmp_path, recorded, size
):
    save_swin_small(tmp_path / "swin.pth", window_size=12, **recorded)

    found = upstream_checkpoint.load(tmp_path / "swin.pth").config

    assert found == replace(VARIANTS["swin_small"], window_size=12, input_size=(size, size))


def forget_authors_package():
    for name in [name for name in sys.modules if name.split(".")[0] == "isegm"]:
        del sys.modules[name]


NETWORKS = {
    "vit_b_448": "vit_base",
    "vit_l_448": "vit_large",
    "vit_h_448": "vit_huge",
    "swin_s_224": "swin_small",
    "swin_b_384": "swin_base",
}


@pytest.mark.parametrize("network", NETWORKS)
def test_sizes_are_read_off_the_shapes(network):
    shapes = golden_networks.shapes(network)
    with torch.device("meta"):
        state_dict = {key: torch.empty(shape) for key, shape in shapes.items()}

    inferred = upstream_checkpoint.infer_config(state_dict)

    blocks = 8 if network.startswith("swin") else inferred.num_cross_blocks
    expected = VARIANTS[NETWORKS[network]].to_dict() | {"num_cross_blocks": blocks}
    assert inferred.to_dict() == expected


class Harmful:
    """Unpickling this without restrictions would create a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["state_dict", "config", "everything"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, place, zipped):
    path, trace = tmp_path / "model.pth", tmp_path / "was-run"
    content = {"state_dict": {}, "config": config(PLAIN_VIT)}
    content = Harmful(trace) if place == "everything" else content | {place: Harmful(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(
        CheckpointError, match=r"model\.pth: refused, nothing was executed: .*mkdir"
    ):
        upstream_checkpoint.load(path)

    assert not trace.exists()


def test_other_classes_of_the_authors_package_are_refused(tmp_path, loss):
    path = tmp_path / "model.pth"
    other = type(loss).__bases__[0]()  # a plain nn.Module
    torch.save({"state_dict": {}, "config": config(PLAIN_VIT, loss=other)}, path)

    with pytest.raises(CheckpointError, match=r"names torch\.nn.*; docs/benchmark\.md says how"):
        upstream_checkpoint.load(path)


def test_a_small_file_that_asks_for_more_memory_than_there_is_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    save_swin_small(path, window_size=2000)

    with pytest.raises(CheckpointError, match=r"model\.pth: .*window_size is 2000, more than 32"):
        upstream_checkpoint.load(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"model": {}}, "not a dictionary of 'state_dict' and 'config'"),
        ([1, 2], "not a dictionary"),
        ({"state_dict": {}, "config": 3}, "does not have the authors' layout"),
        ({"state_dict": {}, "config": config("isegm.model.is_hrnet_model.HRNetModel")}, "HRNet"),
        ({"state_dict": {}, "config": config(SWIN, use_disks=False)}, "use_disks=False"),
        ({"state_dict": {}, "config": config(SWIN, norm_mean_std=([0], [1]))}, "norm_mean_std"),
        ({"state_dict": {}, "config": config(SWIN, use_disks=torch.ones(2))}, "use_disks=a tensor"),
        ({"state_dict": {}, "config": config(SWIN)}, "the state_dict lacks backbone.layers.0"),
        ({"state_dict": {"x": 1}, "config": config(SWIN)}, "something else than named tensors"),
        ({"state_dict": 5, "config": config(SWIN)}, "something else than named tensors"),
        (
            {
                "state_dict": {
                    "backbone.pos_embed": torch.ones(1, 5, 100),
                    "backbone.patch_embed.proj.weight": torch.ones(100, 3, 16, 16),
                },
                "config": config(PLAIN_VIT),
            },
            "heads of a ViT of 100 channels is not known",
        ),
    ],
)
def test_what_is_not_one_of_their_checkpoints_is_refused(tmp_path, content, sentence):
    path = tmp_path / "model.pth"
    torch.save(content, path)

    with pytest.raises(CheckpointError, match=rf"model\.pth: .*{sentence}.*; docs/benchmark"):
        upstream_checkpoint.load(path)


def test_parameters_that_do_not_fit_are_refused():
    state_dict = small_vit()
    del state_dict["head.conv_seg.bias"]
    with pytest.raises(CheckpointError, match=r"1 tensors are missing, .* head\.classifier\.bias"):
        upstream_checkpoint.from_state_dict(
            state_dict, upstream_checkpoint.infer_config(state_dict, 4)
        )


@pytest.mark.parametrize("key", ["head.conv_seg.bias", "backbone.pos_embed"])
@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to(torch.int8),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor.bool(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.to_sparse(),
    ],
    ids=["int8", "complex", "bool", "meta", "sparse"],
)
def test_parameters_of_another_kind_are_refused(key, change):
    state_dict = small_vit()
    state_dict[key] = change(state_dict[key])
    with pytest.raises(CheckpointError, match=r"\.\w+ is no plain array of floating-point numbers"):
        upstream_checkpoint.from_state_dict(
            state_dict, upstream_checkpoint.infer_config(state_dict, 4)
        )


def test_parameters_that_are_not_finite_are_refused():
    state_dict = small_vit()
    state_dict["head.conv_seg.bias"][0] = float("nan")
    with pytest.raises(CheckpointError, match=r"head\.classifier\.bias holds .* not finite"):
        upstream_checkpoint.from_state_dict(
            state_dict, upstream_checkpoint.infer_config(state_dict, 4)
        )


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("backbone.patch_embed.proj.weight", (32, 3)),
        ("backbone.patch_embed.proj.weight", (32, 3, 0, 0)),
        ("backbone.pos_embed", (5,)),
        ("backbone.pos_embed", (1, 0, 32)),
    ],
)
def test_parameters_of_an_unexpected_rank_are_refused(key, shape):
    with pytest.raises(CheckpointError, match="unusual shapes"):
        upstream_checkpoint.infer_config(small_vit() | {key: torch.empty(shape)}, num_heads=4)


def test_a_head_that_upsamples_is_refused():
    state_dict = small_vit() | {"head.conv_seg.weight": torch.ones(1, 16, 1, 1)}

    with pytest.raises(CheckpointError, match="upsamples before its classifier"):
        upstream_checkpoint.infer_config(state_dict, num_heads=4)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"model\.pth: truncated"):
        upstream_checkpoint.load(path)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {"x": torch.ones(1000)}, "config": config(SWIN)}, path)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(CheckpointError, match=r"model\.pth: truncated"):
        upstream_checkpoint.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.pth: cannot be read: No such file"):
        upstream_checkpoint.load(tmp_path / "model.pth")


def test_what_was_loaded_can_be_saved_as_our_own(tmp_path):
    from icmformer import load_checkpoint, save_checkpoint

    state_dict = small_vit()
    model = upstream_checkpoint.from_state_dict(
        state_dict, upstream_checkpoint.infer_config(state_dict, num_heads=4)
    )

    save_checkpoint(model, tmp_path / "model.safetensors")

    loaded = load_checkpoint(tmp_path / "model.safetensors").state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


def test_a_tiny_network_of_ours_is_not_mistaken_for_theirs():
    with pytest.raises(CheckpointError, match="lacks"):
        upstream_checkpoint.from_state_dict(build_model("tiny").state_dict())
