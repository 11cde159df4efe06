"""What a run folder lets a recipe continue, and what it says of a recipe that has changed."""

import logging
import shutil

import pytest
import torch

from tests.training.shapes_recipe import a_recipe
from training.commands.train import train
from training.errors import RecipeError

SHORT = [{"epochs": 1, "size": 32, "batch_size": 8}]
LONGER = [{"epochs": 2, "size": 32, "batch_size": 4}]


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    train(a_recipe(shapes, run, stages=SHORT))
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A finished run of one epoch."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def contents(run):
    return {file.name: file.read_bytes() for file in run.glob("*t*s*") if file.is_file()}


@pytest.mark.parametrize("stages", [SHORT, LONGER], ids=["finished", "longer"])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 1}, "of another run, of seed 0, the recipe's is 1: choose another run folder"),
        (
            {"network": {"name": "tiny", "overrides": {"head_dropout": 0.0, "click_radius": 3}}},
            "of another network, its click_radius is 5, the recipe's 3: choose another run",
        ),
        (
            {"network": {"name": "tiny", "overrides": {"cross_direction": "clicks_to_image"}}},
            'of another network, its cross_direction is "image_to_clicks", the recipe\'s "clicks',
        ),
        (
            {"optimization": {"optimizer": "adamw", "ema": 0.9, "layer_decay": 0.9}},
            r"a run with optimization\.layer_decay=1\.0, the recipe's is 0\.9: keep it, or choose",
        ),
    ],
)
def test_another_experiment_is_refused(shapes, run, change, sentence, stages):
    before = contents(run)

    with pytest.raises(RecipeError, match=sentence):
        train(a_recipe(shapes, run, stages=stages, **change))

    assert contents(run) == before


def test_a_finished_run_says_that_nothing_was_trained(shapes, run, caplog):
    before = contents(run)

    train(a_recipe(shapes, run, stages=SHORT, optimization={"optimizer": "adam", "ema": 0.9}))

    assert contents(run) == before
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "run is finished already, after 16 samples" in line.message
    assert 'optimization.optimizer="adam" (was "adamw")' in line.message
    assert "nothing is trained; for another training give another run=FOLDER" in line.message


def test_a_finished_run_needs_its_data_no_more(shapes, run, tmp_path, caplog):
    before = contents(run), list((run / "curves").iterdir())
    data = {"root": tmp_path / "away", "parts": [{"path": shapes.name}]}
    validation = {"data": tmp_path / "away", "sets": ["GrabCut"]}

    weights = train(a_recipe(shapes, run, stages=SHORT, data=data, validation=validation))

    assert weights == run / "latest.safetensors"
    assert (contents(run), list((run / "curves").iterdir())) == before
    assert "nothing is trained" in caplog.text


def test_what_a_longer_recipe_changes_is_named_in_one_line(shapes, run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    moved = shutil.move(run, tmp_path / "moved")
    shutil.copytree(shapes, tmp_path / "photos")
    data = {"root": tmp_path, "parts": [{"path": "photos"}], "workers": 1}

    train(a_recipe(shapes, moved, stages=LONGER, keep=1, data=data))

    (line,) = [text for text in caplog.messages if text.startswith("continuing")]
    assert line.startswith(f"continuing {moved} after 16 samples, with other settings than before:")
    for named in (
        "data.workers=1 (was 0)",
        "stages.0.epochs=2 (was 1)", "stages.0.batch_size=4 (was 8)", "keep=1 (was 10)",
    ):  # fmt: skip
        assert named in line
    assert "run=" not in line
    assert [state.name for state in moved.glob("state-*")] == ["state-000000000032.pt"]


def test_images_that_changed_are_named(shapes, tmp_path, caplog):
    photos = shutil.copytree(shapes, tmp_path / "photos")
    data = {"root": tmp_path, "parts": [{"path": "photos"}], "workers": 0}
    train(a_recipe(shapes, tmp_path / "run", stages=SHORT, data=data))
    for kind in ("images", "masks"):
        (photos / kind / "0.png").unlink()

    train(a_recipe(shapes, tmp_path / "run", stages=LONGER, data=data))

    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "run goes on with other images than before, so it will not end where" in line
    assert line.endswith(": data.parts.0 (5 images, 6 before)")

    caplog.clear()
    prolonged = [LONGER[0] | {"epochs": 3}]
    train(a_recipe(shapes, tmp_path / "run", stages=prolonged, data=data))
    assert "other images" not in caplog.text


def test_the_same_recipe_has_nothing_to_name(shapes, run, caplog):
    train(a_recipe(shapes, run, stages=SHORT))

    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert "after 16 samples: nothing is trained" in line


def test_the_state_of_another_kind_of_run_is_refused(shapes, run):
    (path,) = run.glob("state-*.pt")
    torch.save({"step": 4, "network": {}}, path)

    with pytest.raises(RecipeError, match="or of another kind of run: choose another run folder"):
        train(a_recipe(shapes, run, stages=LONGER))
