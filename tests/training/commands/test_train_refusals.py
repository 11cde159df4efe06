"""What a training refuses before its first step: weights that do not fit, data without objects."""

import re
import shutil

import cv2
import numpy as np
import pytest
import torch

from icmformer import build_model, save_checkpoint
from icmformer.errors import CheckpointError
from tests.authors_files import save_small_vit
from tests.training.shapes_recipe import a_recipe
from training.commands.train import train
from training.errors import DatasetError, RecipeError
from training.loop.training_data import open_mixture
from training.recipe_files import override


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (
            {"name": "tiny_swin"},
            'another network than tiny: its backbone is "swin", the recipe\'s "vit"; patch_size, ',
        ),
        (
            {"name": "tiny", "num_cross_blocks": 2},
            "its num_cross_blocks is 2, the recipe's 1; network.overrides.num_cross_blocks=2 makes",
        ),
        (
            {"name": "tiny", "depths": (4, 2)},
            "depths is [4,2], the recipe's [2,2]; network.overrides.depths=[4,2] makes it fit",
        ),
    ],
)
def test_of_weights_of_another_network_it_is_said_how_they_differ(shapes, tmp_path, held, sentence):
    save_checkpoint(build_model(**held), tmp_path / "other.safetensors")
    network = {"name": "tiny", "checkpoint": tmp_path / "other.safetensors"}

    with pytest.raises(RecipeError, match=re.escape(sentence)):
        train(a_recipe(shapes, tmp_path / "run", network=network))


def test_weights_of_the_authors_are_read_to_start_from(shapes, tmp_path):
    path = tmp_path / "theirs.pth"
    save_small_vit(path)
    with pytest.raises(RecipeError, match=r"theirs\.pth holds another network than tiny"):
        train(a_recipe(shapes, tmp_path / "run", network={"name": "tiny", "checkpoint": path}))


def test_an_override_that_was_advised_makes_the_weights_fit(shapes, tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(build_model("tiny", head_dropout=0.0, depths=(4, 2)), path)
    network = {"name": "tiny", "overrides": {"head_dropout": 0.0}, "checkpoint": path}
    with pytest.raises(RecipeError) as refusal:
        train(a_recipe(shapes, tmp_path / "run", network=network))
    (advised,) = re.findall(r"network\.(\S+=.*) makes it fit", str(refusal.value))
    override(network, [advised])

    assert train(a_recipe(shapes, tmp_path / "run", network=network)).exists()


def test_pretrained_weights_of_another_network_are_refused_with_the_settings_to_change(
    shapes, tmp_path
):
    """As those of a recipe whose network alone is changed."""
    backbone = {f"patch_embed.{n}": torch.zeros(1) for n in ("proj.weight", "proj.bias")}
    torch.save(backbone, tmp_path / "mae.pth")
    network = {"name": "tiny_swin", "backbone_weights": str(tmp_path / "mae.pth")}

    with pytest.raises(CheckpointError, match=r"mae\.pth: is of another kind or") as refusal:
        train(a_recipe(shapes, tmp_path / "run", network=network))
    sentence = str(refusal.value)
    assert sentence.startswith("network.backbone_weights has to fit network.name=tiny_swin, or to")


@pytest.mark.parametrize("setting", ["checkpoint", "backbone_weights"])
def test_weights_that_are_missing_are_said_before_anything_is_decoded(shapes, tmp_path, setting):
    network = {"name": "tiny", setting: str(tmp_path / "missing.safetensors")}
    cache = tmp_path / "cache"
    data = {"root": shapes.parent, "parts": [{"path": shapes.name}], "cache": cache}

    with pytest.raises(CheckpointError, match="missing"):
        train(a_recipe(shapes, tmp_path / "run", network=network, data=data))

    assert not cache.exists()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("image_folder", "away does not exist; expected images/<name>"),
        ("sbd", "there is no folder .*away/img; expected img/"),
        ("coco_lvis", "there is no folder .*away/images; expected hannotation"),
        ("layered_folder", r"away/index\.jsonl cannot be read"),
        ("accepted", "there is no sample store in .*away; expected state"),
    ],
)
def test_data_that_are_missing_are_said_before_weights_are_fetched(tmp_path, kind, sentence):
    network = {"name": "tiny", "backbone_weights": str(tmp_path / "missing.safetensors")}
    data = {"root": tmp_path, "parts": [{"kind": kind, "path": "away"}]}

    with pytest.raises(DatasetError, match=sentence):
        train(a_recipe(tmp_path, tmp_path / "run", network=network, data=data))
    (tmp_path / "away").mkdir()
    data["parts"][0]["scores"] = "none.json"
    with pytest.raises(DatasetError, match=r"none\.json cannot be read"):
        train(a_recipe(tmp_path, tmp_path / "run", network=network, data=data))


@pytest.mark.parametrize("kind", ["sbd", "layered_folder"])
def test_an_empty_data_set_is_named(shapes, tmp_path, kind):
    for folder in ("img", "inst"):
        (tmp_path / "empty" / folder).mkdir(parents=True)
    for file in ("train.txt", "index.jsonl"):
        (tmp_path / "empty" / file).touch()
    parts = [{"kind": kind, "path": "empty"}]
    recipe = a_recipe(shapes, tmp_path / "run", data={"root": tmp_path, "parts": parts})

    with pytest.raises(DatasetError, match="empty lists no image to train on"):
        train(recipe)


def test_a_run_is_not_continued_with_batches_that_miss_the_ends_of_its_epochs(shapes, tmp_path):
    stage = {"epochs": 1, "size": 32, "batch_size": 8}
    train(a_recipe(shapes, tmp_path / "run", epoch=8, stages=[stage]))
    larger = a_recipe(shapes, tmp_path / "run", stages=[stage | {"batch_size": 16}])

    with pytest.raises(RecipeError, match=r"after 8 samples.* batch_size that divides 8; 16 does"):
        train(larger)


def without_objects(shapes, folder, masks=slice(None)):
    shutil.copytree(shapes, folder)
    for mask in sorted((folder / "masks").iterdir())[masks]:
        cv2.imwrite(str(mask), np.zeros((72, 88), np.uint8))
    return {"root": folder.parent, "parts": [{"path": folder.name}], "workers": 0}


@pytest.mark.parametrize("cached", [False, True])
def test_a_data_set_without_any_object_is_named(shapes, tmp_path, cached):
    data = without_objects(shapes, tmp_path / "blank")
    data["parts"] += [{"path": shapes}]
    data["cache"] = tmp_path / "cache" if cached else None

    with pytest.raises(DatasetError, match="blank holds no object to train on: outline some"):
        train(a_recipe(shapes, tmp_path / "run", data=data))


def test_a_single_image_with_objects_is_enough(shapes, tmp_path):
    data = without_objects(shapes, tmp_path / "sparse", slice(-1))

    assert open_mixture(a_recipe(shapes, tmp_path / "run", data=data)).parts
