"""Checkpoints: what comes back, and what is refused with which sentence."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from icmformer import build_model, load_checkpoint, save_checkpoint, upstream_checkpoint
from icmformer.checkpoint import read_description
from icmformer.errors import CheckpointError, ConfigError
from tests.authors_files import save_small_vit


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def description_of(path):
    return path.with_suffix(".json")


def rewrite(path, **changes):
    """Change the description of a checkpoint; None removes a key."""
    description = json.loads(description_of(path).read_text()) | changes
    kept = {key: value for key, value in description.items() if value is not None}
    description_of(path).write_text(json.dumps(kept))


def save_tensors(path, tensors):
    """Replace the weights, and vouch for them."""
    content = safetensors.torch.save(tensors)
    path.write_bytes(content)
    rewrite(path, weights_sha256=hashlib.sha256(content).hexdigest())


def inputs():
    torch.manual_seed(0)
    clicks = (torch.rand(1, 2, 64, 64) > 0.95).float()
    return torch.rand(1, 3, 64, 64), clicks, torch.rand(1, 1, 64, 64)


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_a_model_comes_back_bit_for_bit_ready_to_be_used(path, name):
    model = build_model(name, num_cross_blocks=2, click_radius=3).eval()

    save_checkpoint(model, path)
    loaded = load_checkpoint(path)

    assert loaded.config == model.config
    assert not loaded.training
    before, after = model.state_dict(), loaded.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    # Not bit for bit: the CPU's kernels depend on where in memory the weights lie.
    torch.testing.assert_close(loaded(*inputs()), model(*inputs()), atol=1e-5, rtol=1e-5)


def test_a_loaded_model_can_be_trained(path):
    save_checkpoint(build_model("tiny_swin"), path)
    model = load_checkpoint(path).train()

    model(*inputs()).sum().backward()

    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_halves_the_file_and_loads_as_float32(path, dtype):
    model = build_model("tiny")
    save_checkpoint(model, path)
    size = path.stat().st_size

    save_checkpoint(model, path, weights_dtype=dtype)
    loaded = load_checkpoint(path)

    assert path.stat().st_size < 0.6 * size
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, model.state_dict()[name].to(dtype).float())


def test_the_description_says_what_the_weights_do_not(path):
    model = build_model("tiny")

    save_checkpoint(
        model, path, provenance={"recipe": "starter", "parent": None, "scores": {"noc90": 3.5}}
    )

    description = read_description(path)
    assert description["config"] == json.loads(json.dumps(model.config.to_dict()))
    assert description["config"]["click_radius"] == 5
    assert description["normalization"]["mean"] == [0.485, 0.456, 0.406]
    assert description["provenance"] == {
        "recipe": "starter",
        "parent": None,
        "scores": {"noc90": 3.5},
    }


def test_nothing_else_is_left_beside_a_checkpoint(path):
    save_checkpoint(build_model("tiny"), path)
    save_checkpoint(build_model("tiny"), path)

    assert sorted(file.name for file in path.parent.iterdir()) == [
        "model.json",
        "model.safetensors",
    ]


def test_what_a_killed_writer_left_is_replaced_by_the_next(path):
    two_killed = """
import os, sys
from icmformer import build_model, save_checkpoint
network = build_model("tiny")
for _ in range(2):
    if not os.fork():
        os.fsync = lambda file: os.kill(os.getpid(), 9)
        save_checkpoint(network, sys.argv[1])
    assert os.wait()[1] == 9
    print(len(os.listdir(os.path.dirname(sys.argv[1]))))
"""
    left = subprocess.run(
        [sys.executable, "-c", two_killed, path], capture_output=True, text=True, check=True
    )
    assert left.stdout == "1\n1\n"

    save_checkpoint(build_model("tiny"), path)

    assert {file.name for file in path.parent.iterdir()} == {"model.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [(Path("a"), "PosixPath"), (np.float32(1), "float32"), (float("nan"), "Out of range")],
)
def test_provenance_that_json_cannot_hold_leaves_the_old_checkpoint(path, value, kind):
    save_checkpoint(build_model("tiny"), path, provenance={"round": 1})

    with pytest.raises(CheckpointError, match=rf"provenance cannot be written as JSON: .*{kind}"):
        save_checkpoint(build_model("tiny"), path, provenance={"round": value})

    assert read_description(path)["provenance"] == {"round": 1}
    load_checkpoint(path)
    assert len(list(path.parent.iterdir())) == 2


def test_a_file_that_cannot_be_written_is_named(path):
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be written: "):
        save_checkpoint(build_model("tiny"), path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_weights_are_not_stored_in_a_type_that_cannot_hold_them(path):
    model = build_model("tiny")
    for dtype in (torch.int8, torch.complex64, torch.float8_e4m3fn):
        with pytest.raises(CheckpointError, match=rf"as {dtype}: use one of torch\.float16, "):
            save_checkpoint(model, path, weights_dtype=dtype)
    model.head.classifier.bias.data.fill_(1e6)
    with pytest.raises(CheckpointError, match=r"head\.classifier\.bias holds .* store float32"):
        save_checkpoint(model, path, weights_dtype=torch.float16)
    assert not path.exists()


@pytest.mark.parametrize("fraction", [0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused(path, fraction):
    save_checkpoint(build_model("tiny"), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])

    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*truncated or altered"):
        load_checkpoint(path)


def test_weights_of_another_model_under_this_name_are_refused(path, tmp_path):
    save_checkpoint(build_model("tiny"), path)
    save_checkpoint(build_model("tiny"), tmp_path / "other.safetensors")
    path.write_bytes((tmp_path / "other.safetensors").read_bytes())

    with pytest.raises(CheckpointError, match=r"not the one in model\.json"):
        load_checkpoint(path)


def test_something_else_than_safetensors_is_refused(path):
    save_checkpoint(build_model("tiny"), path)
    path.write_bytes(b"weights")
    rewrite(path, weights_sha256=hashlib.sha256(b"weights").hexdigest())

    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("head.classifier.bias"), "1 tensors are missing, .* head.classifier.bias"),
        (lambda t: t.update(extra=torch.ones(1)), "1 tensors are unknown, the first is extra"),
        (
            lambda t: t.update({"head.classifier.bias": torch.ones(2)}),
            r"head.classifier.bias has shape \(2,\) instead of \(1,\)",
        ),
        (
            lambda t: t.update({"head.classifier.bias": torch.ones(1, dtype=torch.int8)}),
            r"head.classifier.bias is no plain array of floating-point numbers \(torch.int8",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(path, change, sentence):
    model = build_model("tiny")
    save_checkpoint(model, path)
    tensors = model.state_dict()
    change(tensors)
    save_tensors(path, tensors)

    with pytest.raises(CheckpointError, match=r"model\.safetensors: " + sentence):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "icmformer-2"}, "format 'icmformer-2' is unknown"),
        ({"scores": 1}, r"has the keys .*scores"),
        ({"provenance": None}, "has the keys"),
        ({"config": 7}, "config is not an object"),
        ({"config": {"depth": 12}}, "unknown model setting 'depth'"),
        ({"config": {"backbone": "vit"}}, "incomplete"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 1, 1]}}, "normalization .* is not"),
    ],
)
def test_a_description_that_is_not_understood_is_refused(path, changes, sentence):
    save_checkpoint(build_model("tiny"), path)
    rewrite(path, **changes)

    with pytest.raises(CheckpointError, match=r"model\.json: .*" + sentence):
        load_checkpoint(path)


@pytest.mark.parametrize("width", [4 * 10**11, 4 * 10**29])
def test_a_network_that_no_memory_holds_is_refused(path, width):
    save_checkpoint(build_model("tiny"), path)
    config = read_description(path)["config"] | {"embed_dim": width}
    rewrite(path, config=config)
    with pytest.raises(CheckpointError, match="a network of these sizes cannot be built"):
        load_checkpoint(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 100_000])
def test_a_description_that_is_not_one_is_refused(path, text):
    save_checkpoint(build_model("tiny"), path)
    description_of(path).write_bytes(text.encode("latin-1"))

    with pytest.raises(CheckpointError, match=r"model\.json: not"):
        load_checkpoint(path)


@pytest.mark.parametrize("missing", ["model.safetensors", "model.json"])
def test_a_missing_file_is_named(path, missing):
    save_checkpoint(build_model("tiny"), path)
    (path.parent / missing).unlink()

    with pytest.raises(CheckpointError, match=rf"{missing}: cannot be read: No such file"):
        load_checkpoint(path)


def test_of_a_checkpoint_that_is_not_there_the_file_asked_for_is_named(path):
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read: No such file"):
        load_checkpoint(path)


def test_a_folder_that_is_not_there_is_named(path):
    with pytest.raises(CheckpointError, match=r"model\.safetensors: there is no folder .*nowhere"):
        save_checkpoint(build_model("tiny"), path.parent / "nowhere" / path.name)


def test_a_wrapped_network_whose_file_nobody_could_load_is_not_saved(path):
    with pytest.raises(CheckpointError, match="DataParallel is no ICMFormer; save the network"):
        save_checkpoint(torch.nn.DataParallel(build_model("tiny")), path)
    assert not path.exists()


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / ("x" * 300 + ".safetensors"))
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(CheckpointError, match="cannot be written"):
            save_checkpoint(build_model("tiny"), tmp_path / f"{name}.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("device", ["cuda:77", "xpu:77", "hpu", "meta", "gpu", None, 1.5])
def test_a_device_that_is_unknown_or_not_there_is_refused(path, device):
    save_checkpoint(build_model("tiny"), path)
    with pytest.raises(ConfigError, match=rf"torch cannot compute on '{device}' \(.+\): use cpu"):
        load_checkpoint(path, device)


def test_the_device_may_be_left_to_torch(path):
    save_checkpoint(build_model("tiny"), path)
    assert next(load_checkpoint(path, "auto").parameters()).device.type in ("cpu", "cuda")


def test_a_path_of_another_kind_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.pt: .* ends in \.safetensors"):
        load_checkpoint(tmp_path / "model.pt")


def test_a_file_of_the_authors_is_read_likewise(tmp_path):
    path = tmp_path / "model.pth"
    save_small_vit(path)
    expected, found = upstream_checkpoint.load(path), load_checkpoint(str(path), "cpu")
    assert found.config == expected.config
    weights = found.state_dict()
    assert all(torch.equal(weights[name], each) for name, each in expected.state_dict().items())
    with pytest.raises(ConfigError, match="torch cannot compute on 'abacus'"):
        load_checkpoint(path, "abacus")


def test_loading_brings_no_more_of_torch_than_it_needs(tmp_path):
    """timm, torchvision and torch's compiler take longer to import than torch itself."""
    paths = [tmp_path / f"{name}.safetensors" for name in ("tiny", "tiny_swin")]
    for path in paths:
        save_checkpoint(build_model(path.stem), path)
    program = (
        "import sys; from icmformer import load_checkpoint; [*map(load_checkpoint, sys.argv[1:])];"
        "print({'timm', 'torchvision', 'torch._dynamo', 'sympy'} & sys.modules.keys())"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True
    )

    assert loaded.stdout == "set()\n"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_written(tmp_path, number):
    network = build_model("tiny")
    with torch.no_grad():
        next(network.head.parameters()).fill_(number)
    with pytest.raises(CheckpointError, match="holds numbers that are not finite, as after"):
        save_checkpoint(network, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [float("nan"), float("-inf"), 1e300])
def test_weights_that_are_no_numbers_are_not_loaded(path, number):
    model = build_model("tiny")
    save_checkpoint(model, path)
    bias = torch.full((1,), number, dtype=torch.float64)
    save_tensors(path, model.state_dict() | {"head.classifier.bias": bias})

    with pytest.raises(CheckpointError, match=r"head\.classifier\.bias holds .* not finite"):
        load_checkpoint(path)


def test_weights_whose_sum_overflows_are_numbers(path):
    model = build_model("tiny")
    torch.nn.init.constant_(model.head.fusion.bias, 3e38)
    save_checkpoint(model, path)
    assert torch.equal(load_checkpoint(path).head.fusion.bias, model.head.fusion.bias)


def test_files_that_belong_together_are_complete_before_the_first_appears(tmp_path, monkeypatch):
    first, second = build_model("tiny"), build_model("tiny")
    save_checkpoint(first, tmp_path / "model.safetensors")
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    written = []

    def full(file):
        written.append(file)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"model\.json: cannot be written: No space left"):
        save_checkpoint(second, tmp_path / "model.safetensors")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == kept
