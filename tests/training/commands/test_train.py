"""Whole trainings of a tiny network: they learn, resume, and do not depend on the machinery."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from icmformer import Predictor, build_model, load_checkpoint, save_checkpoint
from icmformer.errors import CheckpointError
from icmformer.specialised import specialist_of
from tests.specialised_network import specialised_network
from tests.training.shapes_recipe import a_recipe
from tests.waiting import wait_until
from training.commands.train import train
from training.datasets.each_object import EachObject
from training.datasets.image_folder import ImageFolder
from training.errors import RecipeError
from training.evaluation.click_by_click import evaluate
from training.loop.recipe import Recipe

# With its usual eps, Adam turns rounding errors of gradients that ought to be zero, such as those
# of the keys' biases, into whole steps.
TAME = {"optimizer": "adamw", "learning_rate": 1e-3, "eps": 1e-3, "clip_grad_norm": 1.0}


def assert_same_weights(path, expected, *, rtol, atol):
    found, wanted = (load_checkpoint(each).state_dict() for each in (path, expected))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=rtol, atol=atol, msg=name)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_killed_training_ends_where_an_uninterrupted_one_does(shapes, tmp_path, kind):
    options = {"optimizer": kind, "learning_rate": 1e-3, "ema": 0.9}
    stages = [
        {"epochs": 1, "size": 32, "batch_size": 8},
        {"epochs": 2, "size": 64, "batch_size": 4},
    ]
    settings = {"stages": stages, "epoch": 8, "optimization": options}
    whole = train(a_recipe(shapes, tmp_path / "whole", **settings))
    interrupted = a_recipe(shapes, tmp_path / "interrupted", **settings)
    train(interrupted)
    # A kill after the second epoch leaves everything of later epochs unwritten.
    for state in sorted(interrupted.run.glob("state-*.pt"))[2:]:
        state.unlink()
    (interrupted.run / "latest.safetensors").unlink()
    (interrupted.run / "unfinished").write_bytes(b"half a state")

    resumed = train(interrupted)

    assert not (interrupted.run / "unfinished").exists()
    assert_same_weights(resumed, whole, rtol=0, atol=0)


def test_pieces_of_a_batch_add_up_to_it(shapes, tmp_path):
    whole = train(a_recipe(shapes, tmp_path / "whole", optimization=TAME))
    pieces = train(a_recipe(shapes, tmp_path / "pieces", optimization=TAME | {"accumulate": 4}))

    assert_same_weights(pieces, whole, rtol=1e-3, atol=1e-5)


def test_in_half_precision_old_states_are_forgotten_and_weights_described(shapes, tmp_path):
    path = train(a_recipe(shapes, tmp_path / "run", keep=1, precision="bf16"))

    assert len(list(path.parent.glob("state-*.pt"))) == 1
    assert not list(path.parent.glob("unfinished*"))
    description = json.loads(path.with_suffix(".json").read_text())
    assert "object_crop" in json.dumps(description)
    assert {"samples", "hardware", "commit", "date"} <= description["provenance"].keys()
    assert list((path.parent / "curves").glob("events*"))


def test_the_end_of_a_training_is_validated_whatever_the_rhythm(shapes, tmp_path):
    validation = {
        "every": 2, "data": shapes.parent, "sets": [f"folder:{shapes.name}"],
        "objects": 1, "clicks": 1, "pictures": 0,
    }  # fmt: skip
    stages = [{"epochs": 3, "size": 32, "batch_size": 8}]
    first = a_recipe(shapes, tmp_path / "run", validation=validation, stages=stages)
    path = train(first)
    longer = [{"epochs": 4, "size": 32, "batch_size": 8}]
    train(a_recipe(shapes, tmp_path / "run", validation=validation, stages=longer))

    # File by file: of files that one process begins in the same second the names have no order.
    seen = []
    for file in path.parent.glob("curves/*"):
        curves = EventAccumulator(str(file)).Reload()
        seen += [event.step for event in curves.Scalars(f"folder:{shapes.name}/NoC85")]
    assert sorted(seen) == [32, 48, 64]  # also the one of the state that was continued from


def test_what_validation_found_best_is_kept_with_its_number_of_samples(shapes, tmp_path):
    validation = {
        "every": 1,
        "data": shapes.parent,
        "sets": [f"folder:{shapes.name}"],
        "objects": 2,
        "clicks": 2,
        "pictures": 2,
    }

    path = train(a_recipe(shapes, tmp_path / "run", validation=validation))

    best = json.loads((path.parent / "best.json").read_text())
    assert best["provenance"]["samples"] in (16, 32)
    state = torch.load(max(path.parent.glob("state-*.pt")), weights_only=True)
    assert state["best"] <= -1


def test_of_a_fine_tuned_network_the_fine_tuned_half_is_trained(shapes, tmp_path):
    path = tmp_path / "tuned.safetensors"
    tuned = specialised_network(build_model("tiny", head_dropout=0.0))
    save_checkpoint(tuned, path)
    network = {"name": "tiny", "overrides": {"head_dropout": 0.0}, "checkpoint": path}
    options = {"optimizer": "adamw", "learning_rate": 1e-9}

    trained = train(a_recipe(shapes, tmp_path / "run", network=network, optimization=options))

    save_checkpoint(specialist_of(tuned), path)
    assert_same_weights(trained, path, rtol=1e-4, atol=1e-6)


def test_weights_alone_can_be_continued_from(shapes, tmp_path):
    first = train(a_recipe(shapes, tmp_path / "first"))
    network = {"name": "tiny", "overrides": {"head_dropout": 0.0}, "checkpoint": first}
    options = {"optimizer": "adamw", "learning_rate": 1e-9}

    second = train(a_recipe(shapes, tmp_path / "second", network=network, optimization=options))

    assert_same_weights(second, first, rtol=1e-4, atol=1e-6)


def test_a_pretrained_backbone_neither_replaces_a_checkpoint_nor_is_needed_to_continue(
    shapes, tmp_path
):
    network = {"name": "tiny", "overrides": {"head_dropout": 0.0}}
    first = train(a_recipe(shapes, tmp_path / "first", network=network))
    network |= {"backbone_weights": str(tmp_path / "not there.safetensors")}
    options = {"optimizer": "adamw", "learning_rate": 1e-9}

    second = train(
        a_recipe(
            shapes,
            tmp_path / "second",
            network=network | {"checkpoint": first},
            optimization=options,
        )
    )
    assert_same_weights(second, first, rtol=1e-4, atol=1e-6)

    stages = [{"epochs": 3, "size": 32, "batch_size": 8}]
    train(a_recipe(shapes, tmp_path / "first", network=network, stages=stages))
    assert samples(tmp_path / "first") == 48
    with pytest.raises(CheckpointError, match="not there"):
        train(a_recipe(shapes, tmp_path / "third", network=network))


def test_a_run_goes_on_without_the_weights_it_began_with(shapes, tmp_path):
    sizes = {"head_dropout": 0.0, "input_size": (32, 32)}
    first = train(
        a_recipe(shapes, tmp_path / "first", network={"name": "tiny", "overrides": sizes})
    )
    network = {"name": "tiny", "overrides": {"head_dropout": 0.0}, "checkpoint": first}
    run = tmp_path / "second"
    short = [{"epochs": 1, "size": 32, "batch_size": 8}]
    train(a_recipe(shapes, run, network=network, stages=short))
    first.unlink()

    path = train(a_recipe(shapes, run, network=network))

    assert samples(run) == 32
    assert load_checkpoint(path).input_size == (32, 32)
    with pytest.raises(CheckpointError, match=r"first.latest\.safetensors: cannot be read"):
        train(a_recipe(shapes, tmp_path / "third", network=network))


def test_what_a_changed_recipe_says_counts_when_a_run_is_continued(shapes, tmp_path):
    first = a_recipe(shapes, tmp_path / "run", stages=[{"epochs": 1, "size": 32, "batch_size": 8}])
    train(first)
    options = {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.2,
        "betas": (0.8, 0.9),
    }

    train(a_recipe(shapes, tmp_path / "run", optimization=options))

    state = torch.load(max(first.run.glob("state-*.pt")), weights_only=True)
    groups = state["optimizer"]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0.0, 0.2}
    assert {tuple(group["betas"]) for group in groups} == {(0.8, 0.9)}


def test_the_weights_themselves_go_on_when_averaging_ends(shapes, tmp_path):
    run = tmp_path / "run"
    short = [{"epochs": 1, "size": 32, "batch_size": 8}]
    train(a_recipe(shapes, run, stages=short))
    weights = torch.load(max(run.glob("state-*.pt")), weights_only=True)["network"]
    (run / "latest.safetensors").unlink()

    path = train(
        a_recipe(shapes, run, stages=short, optimization={"optimizer": "adamw", "ema": None})
    )

    found = load_checkpoint(path).state_dict()
    assert all(torch.equal(found[name], weights[name]) for name in found)


def test_a_run_of_another_network_is_not_continued(shapes, tmp_path):
    train(a_recipe(shapes, tmp_path / "run"))
    with pytest.raises(RecipeError, match="holds the state of another network"):
        train(a_recipe(shapes, tmp_path / "run", network={"name": "tiny_swin"}))


@pytest.mark.parametrize("left", [0, 100, 10_000])
def test_a_damaged_state_is_named_and_the_one_before_can_be_continued_from(shapes, tmp_path, left):
    recipe = a_recipe(shapes, tmp_path / "run")
    train(recipe)
    newest = max(recipe.run.glob("state-*.pt"))
    newest.write_bytes(newest.read_bytes()[:left])

    with pytest.raises(
        RecipeError, match=rf"{newest.name} cannot be read .* delete it to continue from"
    ):
        train(recipe)

    newest.unlink()
    train(recipe)
    assert samples(recipe.run) == recipe.samples


def command(recipe: Recipe, folder, *launcher: str) -> list[str]:
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(recipe.model_dump(mode="json")))
    return [sys.executable, "-m", *launcher, "training", "train", str(file)]


def environment() -> dict[str, str]:
    # Another number of threads adds in another order.
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


@pytest.mark.slow
@pytest.mark.parametrize("request_to_stop", [signal.SIGKILL, signal.SIGINT])
def test_the_command_resumes_after_a_signal(shapes, tmp_path, request_to_stop):
    stages = [{"epochs": 12, "size": 64, "batch_size": 8}]
    whole = train(a_recipe(shapes, tmp_path / "whole", stages=stages))
    recipe = a_recipe(shapes, tmp_path / "run", stages=stages, keep=1)
    arguments = command(recipe, tmp_path)

    first = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(recipe.run.glob("state-*.pt")), process=first)
    first.send_signal(request_to_stop)
    said = first.communicate()[1]
    assert recipe.samples > samples(recipe.run)
    if request_to_stop == signal.SIGINT:
        assert first.returncode == 130
        sentence = f"stopped after {samples(recipe.run)} of 192 samples, saved in {recipe.run}: the"
        assert sentence in said.splitlines()[-1]
    second = subprocess.run(
        arguments, env=environment(), check=True, capture_output=True, text=True
    )
    ending = f"finished after 192 samples: the weights are in {recipe.run}/latest.safetensors"
    assert second.stderr.splitlines()[-1] == ending

    assert samples(recipe.run) == recipe.samples
    assert_same_weights(recipe.run / "latest.safetensors", whole, rtol=0, atol=0)


@pytest.mark.slow
def test_a_request_to_stop_may_reach_the_workers_too(shapes, tmp_path):
    data = {"root": shapes.parent, "parts": [{"path": shapes.name}], "workers": 2}
    stages = [{"epochs": 500, "size": 32, "batch_size": 8}]
    recipe = a_recipe(shapes, tmp_path / "run", stages=stages, keep=1, data=data)

    # On a single core there is one worker of the two, and no warning of torch's.
    core = str(min(os.sched_getaffinity(0)))
    pinned = ["taskset", "--cpu-list", core, *command(recipe, tmp_path)]
    training = subprocess.Popen(
        pinned, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: list(recipe.run.glob("state-*.pt")), process=training)
    # A shell that starts jobs in the background would have them ignore SIGINT.
    os.killpg(training.pid, signal.SIGTERM)

    said = training.communicate()[1]
    assert "Traceback" not in said
    assert "Warning" not in said
    assert training.returncode == 143
    assert recipe.samples > samples(recipe.run) > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_ends_it_with_a_sentence(shapes, tmp_path, workers):
    folder = tmp_path / "damaged"
    shutil.copytree(shapes, folder)
    for image in sorted((folder / "images").iterdir())[1:]:
        image.write_bytes(image.read_bytes()[:500])
    data = {"root": tmp_path, "parts": [{"path": "damaged"}], "workers": workers}
    recipe = a_recipe(shapes, tmp_path / "run", data=data)

    ended = subprocess.run(
        command(recipe, tmp_path), env=environment(), check=False, capture_output=True, text=True
    )

    assert ended.returncode == 1
    assert "is damaged or no image" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_ends_the_training(shapes, tmp_path):
    data = {"root": shapes.parent, "parts": [{"path": shapes.name}], "workers": 2}
    stages = [{"epochs": 500, "size": 32, "batch_size": 8}]
    recipe = a_recipe(shapes, tmp_path / "run", stages=stages, keep=1, data=data)

    training = subprocess.Popen(
        command(recipe, tmp_path), env=environment(), stderr=subprocess.PIPE
    )
    wait_until(lambda: list(recipe.run.glob("state-*.pt")), process=training)
    children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)

    said = training.communicate()[1].decode()
    assert "a process that prepares samples was killed" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert training.returncode == 1


@pytest.mark.cuda
@pytest.mark.slow
def test_the_command_resumes_on_a_gpu(shapes, tmp_path):
    for epochs in (1, 2):
        stages = [{"epochs": epochs, "size": 64, "batch_size": 8}]
        recipe = a_recipe(shapes, tmp_path / "run", stages=stages, device="auto", precision="bf16")
        subprocess.run(command(recipe, tmp_path), env=environment(), check=True)

        assert samples(recipe.run) == recipe.samples
        assert load_checkpoint(recipe.run / "latest.safetensors")


def samples(run) -> int:
    return int(max(run.glob("state-*.pt")).stem.removeprefix("state-"))


@pytest.mark.slow
def test_two_processes_equal_one(shapes, tmp_path):
    one = train(a_recipe(shapes, tmp_path / "one", optimization=TAME, device="cpu"))
    recipe = a_recipe(shapes, tmp_path / "two", optimization=TAME, device="cpu")
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")

    ended = subprocess.run(
        command(recipe, tmp_path, *launcher),
        env=environment(), check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    assert_same_weights(recipe.run / "latest.safetensors", one, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_it_learns(shapes, tmp_path):
    options = {
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "clip_grad_norm": 1.0,
        "ema": 0.95,
        "warmup_epochs": 1,
    }
    stages = [{"epochs": 40, "size": 64, "batch_size": 16}]
    before = train(a_recipe(shapes, tmp_path / "before", stages=[stages[0] | {"epochs": 1}]))

    after = train(a_recipe(shapes, tmp_path / "after", optimization=options, stages=stages))

    data = EachObject(ImageFolder(shapes))
    scores = [
        evaluate(Predictor.for_benchmark(load_checkpoint(path)), data, max_clicks=3).mean_ious()
        for path in (before, after)
    ]
    assert scores[1][2] > scores[0][2] + 0.3
