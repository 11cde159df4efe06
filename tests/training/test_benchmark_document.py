"""What docs/benchmark.md shows of measuring other networks runs, and its recipe is one."""

import re
import shlex
from pathlib import Path
from typing import Any

import cv2

from training.loop.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "benchmark.md").read_text()
EXPERIMENTS = (ROOT / "docs" / "experiments.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_its_python_measures_whatever_answers_clicks(monkeypatch, tmp_path, capsys):
    (tmp_path / "training").symlink_to(ROOT / "training")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    exec(PYTHON[0], names)

    card = names["card"]
    assert len(card.samples) == len(names["objects"]) > 10
    assert card.mean_ious()[0] > 0
    assert card.mean_ious()[-1] > card.mean_ious()[0]
    assert capsys.readouterr().out.startswith(f"{card.noc(0.90)} Interval(")
    assert ">theirs<" in (tmp_path / "curves.svg").read_text()


def test_its_python_draws_one_object_click_by_click(monkeypatch, tmp_path):
    (tmp_path / "training").symlink_to(ROOT / "training")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    exec(PYTHON[1], names)

    (first,) = tmp_path.glob("1 clicks, IoU *.png")
    height, width = names["sample"].target.shape
    assert cv2.imread(str(first)).shape == (2 * height, 2 * width, 3)
    for kind in ("IoU *", "probability"):
        assert len(list(tmp_path.glob(f"* clicks, {kind}.png"))) == len(names["clicks"])


def test_short_runs_can_be_repeated_with_today_s_recipe():
    section = EXPERIMENTS.split("### From nothing, in minutes")[1].split("\n## ")[0]
    (command,) = re.findall(r"`python -m training train (.*?)`", section, re.DOTALL)
    (today,) = re.findall(r"With today's recipe add `(.*?)`", section, re.DOTALL)
    path, *overrides = shlex.split(f"{command} {today}")

    recipe = load_recipe(ROOT / path, overrides)

    assert (recipe.epoch, recipe.optimization.optimizer) == (2400, "adamw")
