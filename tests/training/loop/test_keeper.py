"""What a training leaves in its folder, and what it does not overwrite."""

import json
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator

from icmformer import build_model, load_checkpoint
from icmformer.errors import CheckpointError
from tests.locking import locked_by_another_process
from tests.training.shapes_recipe import a_recipe
from training.commands.train import train
from training.errors import DatasetError, RecipeError
from training.evaluation.noc import SampleScore, ScoreCard
from training.folder_lock import locked
from training.loop.keeper import Keeper
from training.loop.monitor import Monitor
from training.loop.processes import StopRequested
from training.loop.training_state import TrainingState, has_state, load_state
from training.loop.validation import Look, ValidationOptions
from training.provenance import provenance


@pytest.mark.parametrize("options", [{"ema": 0.9}, {"ema": 0.9, "clip_grad_norm": 1.0}, {}])
def test_a_training_that_diverges_stops_and_keeps_what_was_good(shapes, tmp_path, options):
    good = {"optimizer": "adam", "learning_rate": 1e-3}
    stages = [{"epochs": 1, "size": 32, "batch_size": 8}]
    train(a_recipe(shapes, tmp_path / "run", optimization=good, stages=stages, keep=1))
    kept = {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*t*s")}
    stages[0]["epochs"] = 3
    wild = {"optimizer": "adam", "learning_rate": 1e30, **options}

    with pytest.raises(RecipeError, match=r"diverged.* after 32 samples: lower .* is from before"):
        train(a_recipe(shapes, tmp_path / "run", optimization=wild, stages=stages, keep=1))

    (state,) = (tmp_path / "run").glob("state-*.pt")
    assert state.name == "state-000000000016.pt"
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*t*s")} == kept
    load_checkpoint(tmp_path / "run" / "latest.safetensors")


def test_a_finished_training_is_left_as_it_is(shapes, tmp_path):
    recipe = a_recipe(shapes, tmp_path / "run")
    description = train(recipe).with_suffix(".json")
    written = json.loads(description.read_text())
    written["provenance"]["date"] = "long ago"
    description.write_text(json.dumps(written))

    train(recipe)
    assert json.loads(description.read_text())["provenance"]["date"] == "long ago"

    train(recipe).unlink()
    assert load_checkpoint(train(recipe))


@pytest.mark.parametrize(
    ("change", "remembered"), [({"pictures": 0}, True), ({"clicks": 1}, False)]
)
def test_what_was_best_by_another_measure_is_forgotten(shapes, tmp_path, change, remembered):
    validation = {"every": 1, "data": shapes.parent, "sets": [f"folder:{shapes.name}"]}
    validation |= {"objects": 1, "clicks": 2, "pictures": 1}
    run = tmp_path / "run"
    train(a_recipe(shapes, run, validation=validation))
    newest = max(run.glob("state-*.pt"))
    torch.save({**torch.load(newest, weights_only=True), "best": 100.0}, newest)
    (run / "best.safetensors").unlink()
    stages = [{"epochs": 3, "size": 32, "batch_size": 8}]

    train(a_recipe(shapes, run, validation=validation | change, stages=stages))

    assert (run / "best.safetensors").exists() != remembered


def test_what_was_best_outlives_a_stretch_without_validation_and_a_move(shapes, tmp_path):
    run = tmp_path / "run"
    validation = {"data": "here", "sets": ["GrabCut"]}
    first = a_recipe(shapes, run, validation=validation)
    moved = a_recipe(shapes, run, validation=validation | {"data": "there", "every": 5})

    def a_state(recipe, samples=0):
        network = build_model("tiny")
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        measure = recipe.validation.measure() if recipe.validation else ""
        return TrainingState(network, network, optimizer, samples, measure=measure)

    state = a_state(first, samples=16)
    state.best = -2.0
    state.save(first)
    for recipe in (a_recipe(shapes, run), moved):
        state = a_state(recipe)
        state.restore(load_state(run), recipe, "")
        state.save(recipe)

    assert state.best == -2.0


@pytest.mark.parametrize("content", [[], {}, {"network": 1}])
def test_a_state_of_another_kind_is_refused(shapes, tmp_path, content):
    recipe = a_recipe(shapes, tmp_path / "run")
    recipe.run.mkdir()
    torch.save(content, recipe.run / "state-000000000016.pt")

    with pytest.raises(RecipeError, match="holds the state of another network, or of another kind"):
        train(recipe)


def test_a_second_training_in_the_folder_is_refused(shapes, tmp_path):
    recipe = a_recipe(shapes, tmp_path / "run")
    with (
        locked_by_another_process(recipe.run),
        pytest.raises(RecipeError, match=r"another training is running in .*run: wait for it"),
    ):
        train(recipe)

    with locked(recipe.run, RecipeError("another training is running")):
        pass


class Looks:
    """Validation that finds 3, 1 and 2 clicks needed, whatever it is shown; notes that.

    It sees two objects.
    """

    def __init__(self):
        self.options = ValidationOptions(every=1, data="here", sets=("GrabCut",))
        self.seen = []

    def look(self, network, size, interrupt):
        interrupt()
        interrupt()
        clicks = (3, 1, 2)[len(self.seen)]
        network.eval()
        self.seen.append(network)
        ious = (0.5,) * (clicks - 1) + (0.95,)
        return Look({"GrabCut": ScoreCard((SampleScore("1#1", ious, 0.0, 0.1),), 20)}, None)


def a_keeper(recipe, looks, interrupt):
    network, average = build_model("tiny"), build_model("tiny")
    state = TrainingState(network, average, torch.optim.SGD(network.parameters(), 0.1))
    monitor, process = Monitor(recipe.run, recipe.samples, 0, silent=False), Accelerator(cpu=True)
    keeper = Keeper(recipe, provenance("cpu"), process, looks, monitor, None, interrupt)
    return state, keeper


def test_the_averaged_weights_of_the_best_look_are_kept(shapes, tmp_path):
    recipe = a_recipe(shapes, tmp_path / "run", stages=[{"epochs": 3, "size": 32, "batch_size": 8}])
    looks = Looks()
    state, keeper = a_keeper(recipe, looks, interrupt=lambda: None)
    average = state.average
    for epoch in (1, 2, 3):
        state.samples = epoch * recipe.epoch
        torch.nn.init.constant_(next(average.parameters()), epoch)
        keeper.after_step(state)

    assert [look is average for look in looks.seen] == [True] * 3
    assert state.best == -1
    best = load_checkpoint(recipe.run / "best.safetensors")
    assert (next(best.parameters()) == 2).all()


def test_a_look_leaves_a_network_that_is_its_own_average_in_training(shapes, tmp_path):
    recipe = a_recipe(shapes, tmp_path / "run")
    state, keeper = a_keeper(recipe, Looks(), interrupt=lambda: None)
    state.average = state.network.train()
    state.samples = recipe.epoch
    keeper.after_step(state)
    assert state.network.training


def test_where_there_is_a_state_there_are_weights(shapes, tmp_path):
    recipe = a_recipe(shapes, tmp_path / "run")
    state, keeper = a_keeper(recipe, None, interrupt=lambda: None)
    (recipe.run / "latest.safetensors.unfinished").mkdir(parents=True)

    with pytest.raises(CheckpointError, match=r"latest\.safetensors: cannot be written"):
        keeper.at_end(state)

    assert not has_state(recipe.run)


def test_a_training_that_is_stopped_after_it_diverged_writes_nothing(shapes, tmp_path):
    recipe = a_recipe(shapes, tmp_path / "run")
    state, keeper = a_keeper(recipe, None, interrupt=lambda: None)
    torch.nn.init.constant_(next(state.network.parameters()), float("nan"))

    with pytest.raises(RecipeError, match="the training has diverged"):
        keeper.at_end(state)

    assert not has_state(recipe.run)


@pytest.mark.parametrize("epochs", [2, 1], ids=["as long", "shorter"])
def test_a_request_to_stop_ends_a_look_which_is_made_up_later(shapes, tmp_path, epochs):
    recipe = a_recipe(shapes, tmp_path / "run")
    requests = iter([None, StopRequested(signal.SIGTERM)])

    def interrupt():
        if request := next(requests, None):
            raise request

    state, keeper = a_keeper(recipe, Looks(), interrupt)
    state.samples = 2 * recipe.epoch
    keeper.after_step(state)

    assert load_state(recipe.run)["look_due"]
    assert not (recipe.run / "best.safetensors").exists()

    stages = [{"epochs": epochs, "size": 32, "batch_size": 8}]
    keeper.recipe = a_recipe(shapes, recipe.run, stages=stages)
    keeper.look_if_due(state)

    kept = load_state(recipe.run)
    assert (kept["look_due"], kept["best"]) == (False, -3)
    assert load_checkpoint(recipe.run / "best.safetensors")


def a_small_grabcut(shapes, data):
    """Make the benchmark of one object, and return its image."""
    image = min((shapes / "images").iterdir())
    mask = cv2.imread(str(shapes / "masks" / f"{image.stem}.png"), cv2.IMREAD_UNCHANGED)
    for folder in ("data_GT", "boundary_GT"):
        (data / "GrabCut" / folder).mkdir(parents=True)
    cv2.imwrite(str(data / "GrabCut" / "boundary_GT" / "1.bmp"), (mask == 1) * np.uint8(255))
    return Path(shutil.copy(image, data / "GrabCut" / "data_GT" / f"1{image.suffix}"))


def test_a_look_that_fails_costs_no_epoch_and_is_made_up(shapes, tmp_path):
    damaged = a_small_grabcut(shapes, tmp_path)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:500])
    validation = {"every": 1, "data": tmp_path, "sets": ["GrabCut"], "clicks": 1, "pictures": 0}
    stages = [{"epochs": 1, "size": 32, "batch_size": 8}]
    recipe = a_recipe(shapes, tmp_path / "run", validation=validation, stages=stages)

    for _ in range(2):
        with pytest.raises(DatasetError, match=f"{damaged.name} is not a readable image"):
            train(recipe)
        assert load_state(recipe.run)["samples"] == recipe.samples
        assert load_checkpoint(recipe.run / "latest.safetensors")

    damaged.write_bytes(content)
    train(recipe)

    kept = load_state(recipe.run)
    assert (kept["look_due"], kept["best"]) == (False, -1)
    assert load_checkpoint(recipe.run / "best.safetensors")
