"""Checkpoints and the classical method as rows of a benchmark."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from icmformer import build_model
from icmformer.checkpoint import save_checkpoint
from icmformer.clicks import from_row_column
from icmformer.errors import CheckpointError
from icmformer.variants import VARIANTS
from tests.authors_files import save_swin_small
from tests.specialised_network import specialised_network
from training.errors import BenchmarkError
from training.evaluation.contestants import Checkpoint, ClassicalMethod, Served, named_checkpoints


@pytest.fixture(scope="module")
def at_448(tmp_path_factory):
    """A tiny network that, like the paper's ViTs, was trained at 448 pixels."""
    path = tmp_path_factory.mktemp("models") / "large.safetensors"
    save_checkpoint(build_model("tiny", input_size=(448, 448)), path)
    return path


def input_size(contestant, dataset):
    return contestant.settings(dataset)["input size"]


def test_a_network_of_448_pixels_reads_davis_at_672_as_in_the_paper(at_448):
    contestant = Checkpoint("large", at_448)

    assert input_size(contestant, "GrabCut") == "(448, 448)"
    assert input_size(contestant, "DAVIS") == "(672, 672)"


def test_other_networks_read_everything_at_their_own_size(tmp_path):
    save_checkpoint(build_model("tiny"), tmp_path / "tiny.safetensors")

    assert input_size(Checkpoint("tiny", tmp_path / "tiny.safetensors"), "DAVIS") == "(64, 64)"


def a_description(path, config, **provenance):
    """Describe a network of the paper, without its tens of millions of weights."""
    save_checkpoint(build_model("tiny"), path, provenance=provenance)
    description = json.loads(path.with_suffix(".json").read_text())
    description["config"] = config.to_dict()
    path.with_suffix(".json").write_text(json.dumps(description))
    return path


def test_the_swins_of_the_paper_read_what_the_authors_script_reads(tmp_path):
    ablation = replace(VARIANTS["swin_small"], num_cross_blocks=2)
    path = a_description(tmp_path / "swin.safetensors", ablation)

    assert input_size(Checkpoint("swin", path), "GrabCut") == "(448, 448)"
    assert input_size(Checkpoint("swin", path), "DAVIS") == "(672, 672)"
    assert input_size(Served("swin", path), "DAVIS") == "(224, 224)"


@pytest.mark.parametrize("recorded", [{"pretrain_img_size": 224}, {}], ids=["recorded", "guess"])
def test_so_do_the_authors_files_whatever_their_windows_and_nominal_size(tmp_path, recorded):
    save_swin_small(tmp_path / "swin.pth", window_size=12, **recorded)
    contestant = Checkpoint("swin", tmp_path / "swin.pth")

    assert input_size(contestant, "GrabCut") == "(448, 448)"
    assert input_size(contestant, "DAVIS") == "(672, 672)"


@pytest.mark.parametrize(
    ("trained", "nominal", "size"),
    [(224, 224, 448), (224, 384, 448), (336, 224, 336), (336, 336, 336)],
)
def test_a_swin_that_was_trained_at_another_size_than_the_paper_s_reads_that_one(
    tmp_path, trained, nominal, size
):
    """The nominal size, which exporting changes, does not matter."""
    config = replace(VARIANTS["swin_small"], input_size=(nominal, nominal))
    recipe = {"epoch": 10, "stages": [{"epochs": 1, "size": trained}]}
    path = a_description(tmp_path / "swin.safetensors", config, samples=10, recipe=recipe)

    assert input_size(Checkpoint("swin", path), "GrabCut") == f"({size}, {size})"


def test_a_network_is_measured_at_the_size_it_was_last_trained_at(tmp_path):
    stages = [{"epochs": 1, "size": 64}, {"epochs": 1, "size": 128}, {"epochs": 1, "size": 32}]
    recipe = {"epoch": 10, "stages": stages}
    save_checkpoint(
        build_model("tiny"),
        tmp_path / "tiny.safetensors",
        provenance={"samples": 20, "recipe": recipe},
    )

    assert input_size(Checkpoint("tiny", tmp_path / "tiny.safetensors"), "DAVIS") == "(128, 128)"


def test_a_size_that_is_asked_for_holds_everywhere(at_448):
    assert input_size(Checkpoint("large", at_448, input_size=(224, 320)), "DAVIS") == "(224, 320)"


def test_a_checkpoint_is_described_without_loading_its_weights(at_448, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.with_suffix(".json").write_bytes(at_448.with_suffix(".json").read_bytes())
    copy.write_bytes(at_448.read_bytes()[:-1] + b"?")  # which would be refused

    assert Checkpoint("copy", copy).describe() == (
        "copy.safetensors: vit, 0.2 M parameters, reads 448 x 448 pixels, of DAVIS 672 x 672"
    )


@pytest.mark.parametrize("kind", [Checkpoint, Served])
def test_a_fine_tuned_network_is_described_with_the_one_it_came_from(tmp_path, kind):
    network = specialised_network()
    save_checkpoint(network, tmp_path / "tuned.safetensors")

    described = kind("tuned", tmp_path / "tuned.safetensors").describe()

    millions = sum(weight.numel() for weight in network.parameters()) / 2e6
    assert (
        f"vit, twice {millions:.1f} M parameters (a fine-tuned network, and the one " in described
    )
    assert "reads 64 x 64 pixels" in described


def test_weights_without_a_file_are_not_described(at_448, tmp_path):
    path = tmp_path / "gone.safetensors"
    path.with_suffix(".json").write_bytes(at_448.with_suffix(".json").read_bytes())

    with pytest.raises(CheckpointError, match=r"gone\.safetensors: cannot be read"):
        Checkpoint("gone", path).describe()


def test_results_are_tied_to_the_weights(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "model.safetensors"
    save_checkpoint(build_model("tiny"), path)
    before = Checkpoint("model", path).settings("GrabCut")
    save_checkpoint(build_model("tiny"), path)

    assert Checkpoint("model", path).settings("GrabCut") != before


@pytest.mark.parametrize("kind", [Checkpoint, Served])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
def test_weights_that_change_after_they_were_first_read_are_refused(tmp_path, kind, elsewhere):
    path = tmp_path / "latest.safetensors"
    save_checkpoint(build_model("tiny"), path)
    contestant = kind("latest", path)
    before = contestant.settings("GrabCut")
    contestant.segmenter("GrabCut")
    other = build_model("tiny", num_cross_blocks=0)
    recipe = {"epoch": 10, "stages": [{"epochs": 1, "size": 128}]}
    save_checkpoint(other, path, provenance={"samples": 10, "recipe": recipe})
    if elsewhere:
        contestant = pickle.loads(pickle.dumps(contestant))

    assert contestant.settings("GrabCut") == before
    with pytest.raises(BenchmarkError, match=r"latest\.safetensors has changed since .* a copy"):
        contestant.segmenter("GrabCut")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        Checkpoint("nothing", tmp_path / "nothing.safetensors").settings("GrabCut")


@pytest.mark.parametrize("kind", [Checkpoint, Served])
def test_a_damaged_file_is_named_before_anything_is_measured(tmp_path, kind):
    path = tmp_path / "damaged.safetensors"
    save_checkpoint(build_model("tiny"), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"damaged\.safetensors: the file is truncated"):
        kind("damaged", path).settings("GrabCut")


def test_a_size_that_a_vit_cannot_have_is_named_before_anything_is_measured(tmp_path):
    save_checkpoint(build_model("tiny"), tmp_path / "vit.safetensors")
    save_checkpoint(build_model("tiny_swin"), tmp_path / "swin.safetensors")

    with pytest.raises(BenchmarkError, match=r"vit\.safetensors cannot read SBD at 100 x 100"):
        Checkpoint("vit", tmp_path / "vit.safetensors", input_size=(100, 100)).settings("SBD")
    swin = Checkpoint("swin", tmp_path / "swin.safetensors", input_size=(100, 100))
    assert input_size(swin, "SBD") == "(100, 100)"


def test_checkpoints_of_one_file_name_are_told_apart_by_their_folders():
    paths = [Path("a/best.safetensors"), Path("b/best.safetensors"), Path("c/last.safetensors")]

    names = [contestant.name for contestant in named_checkpoints(paths, "cpu", None)]

    assert names == ["a/best", "b/best", "last"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["w/a.pth", "w/a.safetensors"], ["a.pth", "a.safetensors"]),
        (["w/a.pth", "w/a.safetensors", "v/a.pth"], ["w/a.pth", "w/a.safetensors", "v/a"]),
        (["w/a.pth", "v/a.safetensors"], ["w/a", "v/a"]),
        (["w/best.pth", "w/best.safetensors"], ["w/best.pth", "w/best.safetensors"]),
        (["w/a.pth", "w/a.pth"], ["a"]),
    ],
)
def test_files_that_differ_in_the_suffix_alone_keep_it(files, expected):
    named = named_checkpoints([Path(file) for file in files], "cpu", None)

    assert [one.name for one in named] == expected


def test_runs_of_several_seeds_have_names_of_their_own():
    paths = [Path("runs/a/s0/latest.safetensors"), Path("runs/b/s0/latest.safetensors")]

    assert [one.name for one in named_checkpoints(paths, "cpu", None)] == [
        "a/s0/latest",
        "b/s0/latest",
    ]


@pytest.mark.parametrize("name", ["latest", "best"])
def test_what_every_training_calls_the_same_is_named_after_its_run(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    file = f"{name}.safetensors"

    (there,) = named_checkpoints([Path("runs/sbd") / file], "cpu", None)
    (here,) = named_checkpoints([Path(file)], "cpu", None)

    assert there.name == f"sbd/{name}"
    assert here.name == f"{tmp_path.name}/{name}"


def test_the_classical_method_says_what_it_is():
    assert "OpenCV's GrabCut" in ClassicalMethod().describe()


def test_as_served_it_keeps_its_own_size_and_its_own_results(at_448):
    published, served = Checkpoint("large", at_448), Served("large", at_448)
    assert input_size(served, "DAVIS") == "(448, 448)"
    assert served.settings("GrabCut") != published.settings("GrabCut")
    assert served.describe().endswith("reads 448 x 448 pixels, as served")
    assert "tidies its masks" in served.deviation()
    assert not published.deviation()
    assert "224 x 320" in Checkpoint("large", at_448, input_size=(224, 320)).deviation()


def test_as_served_every_click_is_obeyed(tmp_path):
    torch.manual_seed(0)
    save_checkpoint(build_model("tiny"), tmp_path / "tiny.safetensors")
    image = np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8)
    clicks = [from_row_column(20, 30, True), from_row_column(60, 70, False)]
    served = Served("tiny", tmp_path / "tiny.safetensors").segmenter("GrabCut")
    mask = served.segment(image, clicks).mask
    assert mask[20, 30]
    assert not mask[60, 70]
