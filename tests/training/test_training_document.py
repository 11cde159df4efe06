"""The settings that docs/training.md names exist."""

import re
from pathlib import Path

import pytest

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
