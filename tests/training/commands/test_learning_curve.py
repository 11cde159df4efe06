import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icmformer import Predictor, build_model, save_checkpoint
from tests.training.disc_project import disc
from training.commands import learning_curve
from training.errors import BenchmarkError, DatasetError
from training.evaluation.same_settings import keep_to
from training.fine_tuning.accepted_domain import AcceptedDomain
from training.store.split import HELD_OUT, TRAINING, VALIDATION, image_hash, split_of

ROOT = Path(__file__).parents[3]
DISCS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of discs, two on each image."""
    folder = tmp_path_factory.mktemp("discs")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(DISCS):
        (left, left_mask), (right, right_mask) = disc(2 * number), disc(2 * number + 1)
        ids = np.hstack([left_mask.astype(np.uint8), 2 * right_mask.astype(np.uint8)])
        Image.fromarray(np.hstack([left, right])).save(folder / "images" / f"{number}.png")
        Image.fromarray(ids).save(folder / "masks" / f"{number}.png")
    return folder


def names(images):
    return {images[index].name for index in range(len(images))}


def objects(images):
    return sum(len(images[index].objects) for index in range(len(images)))


def test_a_fifth_of_the_masks_is_held_out_and_no_image_is_on_two_sides(folder):
    domain = AcceptedDomain(folder, objects_per_image=5)
    accepted, validation = domain.accepted(50)
    assert objects(accepted) + objects(validation) == 40
    sides = [names(accepted), names(validation), names(domain.held_out)]
    assert sum(len(side) for side in sides) == len(set.union(*sides))
    held_out = domain.held_out
    for index in range(len(held_out)):
        assert split_of(image_hash(held_out[index].image)) == HELD_OUT


def test_more_masks_are_the_same_masks_and_more(folder):
    domain = AcceptedDomain(folder, objects_per_image=1)
    few, _ = domain.accepted(10)
    many, _ = domain.accepted(30)
    assert names(few) < names(many)
    assert all(len(many[index].objects) == 1 for index in range(len(many)))


def test_what_is_not_accepted_is_not_outlined(folder):
    accepted, _ = AcceptedDomain(folder, objects_per_image=1).accepted(20)
    assert all(len(np.unique(accepted[index].layers)) == 2 for index in range(len(accepted)))


def test_images_without_an_object_are_passed_over(folder, tmp_path):
    """As the good parts in a set for inspection."""
    shutil.copytree(folder, tmp_path / "some")
    for number in range(0, DISCS, 2):
        mask = tmp_path / "some" / "masks" / f"{number}.png"
        Image.fromarray(np.zeros_like(np.array(Image.open(mask)))).save(mask)
    domain = AcceptedDomain(tmp_path / "some", objects_per_image=5)
    for images in (*domain.accepted(20), domain.held_out):
        assert all(images[index].objects for index in range(len(images)))


def test_more_masks_than_there_are_objects_are_refused(folder):
    with pytest.raises(DatasetError, match="too few objects for 500 accepted masks"):
        AcceptedDomain(folder, objects_per_image=1).accepted(500)


def test_a_curve_is_continued_with_the_same_settings_alone(tmp_path):
    settings = {"weights": "abc", "recipe": {"steps": 3, "betas": (0.9, 0.99)}}
    keep_to(settings, tmp_path)
    keep_to(settings, tmp_path)
    with pytest.raises(BenchmarkError, match="weights = abc, now it is xyz; choose another --outp"):
        keep_to({**settings, "weights": "xyz"}, tmp_path)
    (tmp_path / "settings.json").write_text("half")
    with pytest.raises(BenchmarkError, match=r"settings\.json is damaged"):
        keep_to(settings, tmp_path)


def run_with(data, masks, tmp_path, *more):
    torch.manual_seed(0)
    save_checkpoint(build_model("tiny"), tmp_path / "tiny.safetensors")
    parser = argparse.ArgumentParser()
    learning_curve.add_arguments(parser)
    words = ["--checkpoint", tmp_path / "tiny.safetensors", "--domain", data, "--masks", masks]
    words += ["--test-objects", "1", "--output", tmp_path / "out", "steps=2", "device=cpu", *more]
    learning_curve.run(parser.parse_args([str(word) for word in words]))


def copied(folder, side, data):
    """Copy the images of one side of the split."""
    for image in (folder / "images").iterdir():
        if split_of(image_hash(np.array(Image.open(image)))) == side:
            for kind in ("images", "masks"):
                (data / kind).mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / kind / image.name, data / kind)


def test_with_nothing_to_click_on_nothing_is_trained(folder, tmp_path):
    copied(folder, TRAINING, tmp_path / "data")
    with pytest.raises(DatasetError, match="add images, or give --data"):
        run_with(tmp_path / "data", "2", tmp_path)
    assert not (tmp_path / "out").exists()


def test_with_masks_to_validate_on_alone_nothing_is_measured(folder, tmp_path):
    for side in (VALIDATION, HELD_OUT):
        copied(folder, side, tmp_path / "data")
    with pytest.raises(DatasetError, match=r"none to train on.*ask for more --masks"):
        run_with(tmp_path / "data", "2", tmp_path)
    assert not (tmp_path / "out").exists()


def test_of_the_data_folder_only_what_is_clicked_must_stay_as_it_is(
    folder, data, tmp_path, monkeypatch
):
    at_home_on = []

    def predictor(network, at_home):
        at_home_on.append(at_home)
        return Predictor(network, at_home=at_home)

    monkeypatch.setattr(learning_curve, "Predictor", predictor)
    for there, here in {"data_GT": "images", "boundary_GT": "masks"}.items():
        shutil.copytree(data / "GrabCut" / there, data / "Berkeley" / here)
    command = (folder, "4", tmp_path, "--data", data, "--output", data / "curve")
    run_with(*command)
    assert at_home_on == [True, False, False] * 2, "a benchmark is none of the domain's"
    (data / "another archive").write_bytes(b"unpacked meanwhile")
    run_with(*command)

    with min((data / "GrabCut" / "data_GT").iterdir()).open("ab") as image:
        image.write(b"!")

    with pytest.raises(BenchmarkError, match=r"measured with benchmarks\.GrabCut = "):
        run_with(*command)


@pytest.mark.slow
def test_the_command_writes_table_plot_and_numbers(folder, tmp_path):
    torch.manual_seed(0)
    save_checkpoint(build_model("tiny"), tmp_path / "tiny.safetensors")
    command = [
        sys.executable, "-m", "training", "learning-curve",
        "--checkpoint", str(tmp_path / "tiny.safetensors"), "--domain", str(folder),
        "--masks", "30,10", "--test-objects", "4", "--annotators", "2",
        "--output", str(tmp_path / "out"),
        "steps=70", "validate_every=35", "weight_interpolation=1", "device=cpu",
        "optimization.optimizer=muon", "optimization.learning_rate=3e-3",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "30 masks, held out: 100%" in done.stderr, "how far the clicking is"
    numbers = json.loads((tmp_path / "out" / "learning_curve.json").read_text())
    assert numbers["masks"] == [0, 10, 30], "in order, whatever was measured first"
    for threshold in ("0.75", "0.85"):
        before, *_, after = numbers["clicks"][threshold]["held out"]["mean"]
        assert after < before
    assert "| 30 |" in (tmp_path / "out" / "learning_curve.md").read_text()
    assert (tmp_path / "out" / "learning_curve.svg").read_text().startswith("<svg")
    kept = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert (kept["test objects"], kept["annotators"], kept["recipe"]["steps"]) == (4, 2, 70)
    card = json.loads((tmp_path / "out" / "0 masks" / "held out.json").read_text())
    names = [sample["name"] for sample in card["samples"]]
    assert names == names[:4] * 2
    done = subprocess.run(
        [*command, "seed=7"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "was measured with recipe.seed = 0, now it is 7; choose" in done.stderr
