"""What ships is the same network, smaller, and says where it comes from without naming places."""

import sys

import pytest
import torch

from icmformer import (
    ModelConfig,
    build_model,
    load_checkpoint,
    save_checkpoint,
    upstream_checkpoint,
)
from icmformer.checkpoint import read_description
from icmformer.errors import CheckpointError, ICMFormerError
from tests.authors_files import save_small_vit
from tests.specialised_network import specialised_network
from training.__main__ import main
from training.commands.export import export

RECIPE = {
    "run": "/home/me/runs/starter",
    "data": {"root": "/home/me/data", "cache": None, "parts": [{"path": "DUTS_TR.zip"}]},
    "validation": {"sets": ["GrabCut", "folder:/home/me/own", "folder:../me/private/other.zip"]},
    "epoch": 100,
    "stages": [{"epochs": 2, "size": 32}, {"epochs": 1, "size": 96}],
}


def a_training(folder, samples=300, network="tiny"):
    path = folder / "latest.safetensors"
    torch.manual_seed(0)
    about = {"samples": samples, "recipe": RECIPE, "command": "train /home/me/x.yaml"}
    save_checkpoint(build_model(network), path, provenance=about)
    return path


@pytest.mark.parametrize(("samples", "size"), [(1, 32), (200, 32), (201, 96), (300, 96)])
def test_the_size_is_that_of_the_last_stage_reached(tmp_path, samples, size):
    assert export(a_training(tmp_path, samples), tmp_path / "out.safetensors") == size
    assert load_checkpoint(tmp_path / "out.safetensors").input_size == (size, size)


def test_without_stages_the_size_stays(tmp_path):
    save_checkpoint(
        build_model("tiny"), tmp_path / "tuned.safetensors", provenance={"recipe": "fine_tune.yaml"}
    )
    assert export(tmp_path / "tuned.safetensors", tmp_path / "out.safetensors") == 64


def test_a_fine_tuned_network_is_exported_with_the_one_beside_it(tmp_path):
    checkpoint, output = tmp_path / "tuned.safetensors", tmp_path / "out.safetensors"
    save_checkpoint(specialised_network(), checkpoint, provenance={"recipe": "fine_tune.yaml"})
    assert export(checkpoint, output) == 64
    assert (
        load_checkpoint(output).state_dict().keys()
        == load_checkpoint(checkpoint).state_dict().keys()
    )


def test_a_fine_tuned_network_keeps_its_size(tmp_path, monkeypatch, capsys):
    checkpoint, output = tmp_path / "tuned.safetensors", tmp_path / "out.safetensors"
    save_checkpoint(specialised_network(), checkpoint)
    arguments = ["--checkpoint", str(checkpoint), "--output", str(output), "--input-size", "96"]
    monkeypatch.setattr(sys, "argv", ["training", "export", *arguments])

    assert main() == 1
    assert "keeps its size of 64 pixels: leave --input-size out" in capsys.readouterr().err


def test_weights_are_stored_in_half_and_rounded_only(tmp_path):
    checkpoint, output = a_training(tmp_path), tmp_path / "out.safetensors"
    export(checkpoint, output, size=64)

    assert output.stat().st_size < 0.6 * checkpoint.stat().st_size
    exported = load_checkpoint(output).state_dict()
    for name, tensor in load_checkpoint(checkpoint).state_dict().items():
        assert torch.equal(exported[name], tensor.bfloat16().float())


@pytest.mark.parametrize("network", ["tiny", "tiny_swin"])
def test_the_network_computes_the_same_at_the_new_size(tmp_path, network):
    checkpoint, output = a_training(tmp_path, network=network), tmp_path / "out.safetensors"
    export(checkpoint, output, dtype=torch.float32, size=128)
    image, clicks, mask = (torch.rand(1, channels, 128, 128) for channels in (3, 2, 1))

    with torch.no_grad():
        before = load_checkpoint(checkpoint)(image, clicks, mask)
        after = load_checkpoint(output)(image, clicks, mask)

    assert torch.equal(after, before)


def test_a_size_the_network_cannot_have_is_refused(tmp_path):
    checkpoint = a_training(tmp_path)
    with pytest.raises(ICMFormerError, match="windows"):
        export(checkpoint, tmp_path / "out.safetensors", size=50)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_checkpoint_is_not_rounded_in_its_own_place(tmp_path):
    checkpoint = a_training(tmp_path)
    content = checkpoint.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(checkpoint)
    for output in (checkpoint, link):
        with pytest.raises(CheckpointError, match="is the checkpoint itself: name another file"):
            export(checkpoint, output)
    assert checkpoint.read_bytes() == content


def test_the_command_describes_without_naming_places(tmp_path, monkeypatch, capsys):
    output = tmp_path / "new" / "out.safetensors"
    arguments = ["--checkpoint", str(a_training(tmp_path)), "--output", str(output)]
    notes = ["--note", "licence=for research", "--note", "model=early"]
    monkeypatch.setattr(
        sys, "argv", ["training", "export", *arguments, "--input-size", "64", *notes]
    )

    assert main() == 0

    description = read_description(output)
    assert ModelConfig.from_dict(description["config"]) == build_model("tiny").config
    found = description["provenance"]
    assert (found["samples"], found["size"]) == (300, 64)
    assert (found["licence"], found["model"]) == ("for research", "early")
    assert found["recipe"]["data"]["parts"] == [{"path": "DUTS_TR.zip"}]
    assert found["recipe"]["run"] == "starter"
    assert found["recipe"]["validation"]["sets"] == ["GrabCut", "folder:own", "folder:other.zip"]
    assert "/home/me" not in str(found)


def test_of_relative_paths_too_only_the_last_name_ships(tmp_path):
    data = {"root": "../acme/photos", "parts": [{"path": "acme/ward/scans", "kind": "sbd"}]}
    places = {"run": "acme/runs/own", "data": data, "network": {"checkpoint": "../acme/w.pth"}}
    checkpoint, output = tmp_path / "latest.safetensors", tmp_path / "out.safetensors"
    hardware = "2 cores of A10 w/ Radeon"
    save_checkpoint(
        build_model("tiny"), checkpoint, provenance={"recipe": places, "hardware": hardware}
    )

    export(checkpoint, output)

    assert read_description(output)["provenance"] == {
        "recipe": {
            "run": "own",
            "data": {"root": "photos", "parts": [{"path": "scans", "kind": "sbd"}]},
            "network": {"checkpoint": "w.pth"},
        },
        "hardware": hardware,
        "size": 64,
    }


def test_a_file_of_the_authors_becomes_one_of_ours_with_the_same_weights(tmp_path, monkeypatch):
    checkpoint, output = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    save_small_vit(checkpoint)
    arguments = ["--checkpoint", str(checkpoint), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["training", "export", *arguments])

    assert main() == 0

    expected, found = upstream_checkpoint.load(checkpoint), load_checkpoint(output)
    assert found.config == expected.config
    weights = found.state_dict()
    assert all(torch.equal(weights[name], each) for name, each in expected.state_dict().items())
    assert read_description(output)["provenance"] == {"converted_from": "theirs.pth", "size": 224}


def test_a_file_of_the_authors_is_rounded_if_that_is_asked_for(tmp_path):
    checkpoint, output = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    save_small_vit(checkpoint)

    export(checkpoint, output, dtype=torch.float16)

    exported = load_checkpoint(output).state_dict()
    for name, tensor in upstream_checkpoint.load(checkpoint).state_dict().items():
        assert torch.equal(exported[name], tensor.half().float())


def test_a_note_cannot_take_the_place_of_a_fact(tmp_path, monkeypatch, capsys):
    names = ["--checkpoint", str(a_training(tmp_path)), "--output", str(tmp_path / "o.safetensors")]
    monkeypatch.setattr(sys, "argv", ["training", "export", *names, "--note", "samples=x"])

    with pytest.raises(SystemExit):
        main()

    assert "samples is no note but a fact of the weights" in capsys.readouterr().err


def test_a_missing_checkpoint_is_a_sentence(tmp_path, monkeypatch, capsys):
    names = ["--checkpoint", str(tmp_path / "no.safetensors"), "--output", str(tmp_path / "o")]
    monkeypatch.setattr(sys, "argv", ["training", "export", *names])

    assert main() == 1
    assert "no.safetensors: cannot be read" in capsys.readouterr().err
