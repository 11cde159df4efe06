"""The settings that docs/training.md names exist, and its small try of a recipe works."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets.sbd_files import write_sbd
from training.commands.train import train
from training.loop.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "training.md").read_text()


def settings():
    quoted = re.findall(r"'([a-z][\w.]*=.+?)'", DOCUMENT)
    inline = re.findall(r"`([a-z][\w.]*=[^` ]+)`", DOCUMENT)
    return sorted(set(quoted + inline) - {"key=value"})


@pytest.mark.parametrize("override", settings())
def test_settings_can_be_given(override):
    load_recipe(ROOT / "training" / "recipes" / "sbd_vit_base.yaml", [override])


def test_it_names_what_exists():
    assert len(settings()) >= 10
    for recipe in re.findall(r"training/recipes/(\w+)\.yaml", DOCUMENT):
        assert (ROOT / "training" / "recipes" / f"{recipe}.yaml").is_file()
    for module in re.findall(r"`((?:\w+/)*\w+\.py)`", DOCUMENT):
        places = [ROOT / module, ROOT / "training" / module, ROOT / "training" / "loop" / module]
        assert any(place.is_file() for place in places), module


def test_a_recipe_can_be_tried_on_a_few_images_as_it_says(tmp_path):
    scene = np.zeros((300, 300), np.uint8)
    scene[50:200, 50:200] = 1
    write_sbd(tmp_path / "SBD", {f"2008_{n}": scene for n in range(3)}, split="train")
    (command,) = re.findall(r"^python .* run=runs/try .*(?:\n    .*)+", DOCUMENT, re.MULTILINE)
    recipe, *settings = shlex.split(command.replace("\\\n", ""))[4:]

    places = [f"data.root={tmp_path}", f"run={tmp_path / 'run'}"]
    weights = train(load_recipe(ROOT / recipe, [*settings, *places]))

    assert weights == tmp_path / "run" / "latest.safetensors"
