from unittest.mock import Mock

import pytest
import torch

import training.fine_tuning.fine_tune
from icmformer import Predictor, build_model, load_checkpoint, save_checkpoint
from icmformer.checkpoint import read_description
from tests.training.quick_fine_tuning import (
    DATA,
    Discs,
    changed,
    learned,
    run,
    weights,
)
from training.errors import DatasetError, RecipeError
from training.evaluation.click_by_click import evaluate
from training.fine_tuning.fine_tune import FineTuneData, can_validate
from training.fine_tuning.fine_tune_recipe import load_fine_tune_recipe
from training.loop.training_state import load_state


class Stopped(Exception):
    pass


def test_the_candidate_is_a_checkpoint_that_says_how_it_was_made(base, tmp_path):
    candidate = run(base, tmp_path / "job")
    described = read_description(candidate)["provenance"]
    assert described["parent"] == 3
    assert described["recipe"]["steps"] == 6
    before, after = weights(base), weights(candidate)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_run_that_was_killed_ends_where_one_that_was_not_would_have(base, tmp_path):
    whole = weights(run(base, tmp_path / "whole"))
    for stop_after in (1, 3, 5):

        def stop(stage, done, total, at=stop_after):
            if done == at:
                raise Stopped

        with pytest.raises(Stopped):
            run(base, tmp_path / "killed", report=stop)
    resumed = weights(run(base, tmp_path / "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_loss_falls(base, tmp_path, caplog):
    caplog.set_level("INFO", "training.fine_tuning.fine_tune")
    run(base, tmp_path / "job", "steps=40", "validate_every=20", "optimization.learning_rate=2e-3")
    losses = [float(r.getMessage().split()[3][:-1]) for r in caplog.records if "loss" in r.msg]
    assert losses[-1] < losses[0]


@pytest.fixture
def averages(monkeypatch):
    """Judge every look at the validation images worse than the one before; note what is judged."""
    looks = []

    def worse_and_worse(average, validation, recipe, tell):
        looks.append({name: tensor.clone() for name, tensor in average.state_dict().items()})
        return 1 / len(looks)

    monkeypatch.setattr(training.fine_tuning.fine_tune, "_score", worse_and_worse)
    return looks


STOPS_EARLY = ("steps=40", "patience=1", "weight_interpolation=1")


def test_it_stops_early_and_returns_what_was_best(base, tmp_path, averages, caplog):
    caplog.set_level("INFO", "training.fine_tuning.fine_tune")
    candidate = run(base, tmp_path / "job", *STOPS_EARLY)
    assert "no improvement" in caplog.text
    assert read_description(candidate)["provenance"]["steps"] == 2
    best, last = averages
    returned = weights(candidate)
    assert all(torch.equal(best[name], returned[name]) for name in best)
    assert any(not torch.equal(last[name], returned[name]) for name in best)


def test_what_is_returned_is_an_average_over_steps(base, tmp_path):
    last, averaged = (
        run(base, tmp_path / ema, f"optimization.ema={ema}", "steps=2", data=learned(Discs(4)))
        for ema in ("null", "0.9")
    )
    assert changed(last, averaged)


def test_a_run_that_was_killed_after_it_had_stopped_early_trains_no_further(
    base, tmp_path, averages, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(training.fine_tuning.fine_tune, "save_checkpoint", Mock(side_effect=Stopped))
        with pytest.raises(Stopped):
            run(base, tmp_path / "killed", *STOPS_EARLY)
    best, _ = averages

    def no_step(stage, done, total):
        assert done == 4

    resumed = run(base, tmp_path / "killed", *STOPS_EARLY, report=no_step)
    assert read_description(resumed)["provenance"]["steps"] == 2
    returned = weights(resumed)
    assert all(torch.equal(best[name], returned[name]) for name in best)


def test_a_run_that_diverges_says_what_to_change_and_keeps_what_was_good(base, tmp_path):
    changes = ("optimization.learning_rate=1e8", "optimization.clip_grad_norm=null")
    data = learned(Discs(4))
    with pytest.raises(RecipeError, match=r"after \d steps: lower optimization\.learning_rate"):
        run(base, tmp_path / "job", *changes, data=data)
    assert load_state(tmp_path / "job") is None


def test_a_damaged_state_without_one_before_it_is_deleted_to_begin_anew(base, tmp_path):
    run(base, tmp_path / "job")
    (state,) = (tmp_path / "job").glob("state-*.pt")
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(RecipeError, match="delete it to begin anew"):
        run(base, tmp_path / "job")
    state.unlink()
    run(base, tmp_path / "job")


def test_objects_too_small_to_learn_from_are_named(base, tmp_path):
    data = learned(Discs(4))
    with pytest.raises(DatasetError, match=r"lower sampling\.min_object_area"):
        run(base, tmp_path / "job", "sampling.min_object_area=9999", data=data)


def test_people_are_let_through_before_each_click_on_validation_images(base, tmp_path):
    reports = []
    run(base, tmp_path / "job", report=lambda *told: reports.append(told))
    looks = [done for _, done, _ in reports if done % 2 == 0]
    objects = len(DATA.validation)
    assert len(looks) >= 3 * (1 + objects), "a step, and at least a click an object"


def test_validation_clicks_as_people_are_served(base, tmp_path, caplog):
    caplog.set_level("INFO", "training.fine_tuning.fine_tune")
    network = load_checkpoint(run(base, tmp_path / "job", "steps=2", "weight_interpolation=1"))
    served, published = (
        evaluate(predictor, DATA.validation, max_clicks=2).mean_ious().mean()
        for predictor in (Predictor(network), Predictor.for_benchmark(network))
    )
    assert f"IoU {served:.4f}" in caplog.text
    assert f"IoU {published:.4f}" not in caplog.text


@pytest.mark.parametrize("steps", [1, 5, 6])  # it looks at its weights every second
def test_without_validation_and_retention_it_takes_all_its_steps(base, tmp_path, caplog, steps):
    caplog.set_level("INFO", "training.fine_tuning.fine_tune")
    data = learned(Discs(4))
    candidate = run(base, tmp_path / "job", f"steps={steps}", data=data)
    assert "too few to validate on" in caplog.text
    assert read_description(candidate)["provenance"]["steps"] == steps


@pytest.mark.parametrize(
    ("objects", "images", "enough"), [(5, 3, True), (4, 3, False), (5, 2, False)]
)
def test_few_objects_or_objects_on_few_images_do_not_say_when_to_stop(objects, images, enough):
    assert can_validate(objects, images) is enough


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_the_image_branch_can_be_kept(tmp_path, name):
    base = tmp_path / "base.safetensors"
    save_checkpoint(build_model(name), base)
    moved = changed(base, run(base, tmp_path / "job", "adaptation=frozen_image_branch"))
    kept = (
        "image_embed", "position", "blocks.0.", "blocks.1.",
        "patch_embed", "stages.0.", "stages.1.",
    )  # fmt: skip
    assert any("head." in tensor for tensor in moved)
    assert any("cross_modality" in tensor for tensor in moved)
    assert not [
        tensor
        for tensor in moved
        if tensor.startswith(tuple(f"backbone.{prefix}" for prefix in kept))
    ]


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_low_rank_updates_become_ordinary_weights_of_attention(tmp_path, name):
    base = tmp_path / "base.safetensors"
    save_checkpoint(build_model(name), base)
    candidate = run(base, tmp_path / "job", "adaptation=lora", "rank=2")
    moved = {tensor for tensor in changed(base, candidate) if tensor.startswith("backbone.")}
    assert moved
    assert all(tensor.endswith(("qkv.weight", "proj.weight")) for tensor in moved)
    before, after = weights(base), weights(candidate)
    assert all(torch.linalg.matrix_rank(after[n] - before[n], atol=1e-5) <= 2 for n in moved)


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_a_share_of_the_way_is_gone(base, tmp_path, adaptation):
    start = weights(base)
    half, whole = (
        weights(
            run(base, tmp_path / share, f"weight_interpolation={share}", f"adaptation={adaptation}")
        )
        for share in ("0.5", "1")
    )
    assert any((whole[name] != start[name]).any() for name in start)
    for name in start:
        torch.testing.assert_close(half[name], start[name].lerp(whole[name], 0.5))


def test_changes_are_merged_over_the_default_and_misspelt_ones_stop(tmp_path):
    changes = tmp_path / "mine.yaml"
    changes.write_text("steps: 7\noptimization: {learning_rate: 0.5}\n")
    recipe = load_fine_tune_recipe(changes)
    assert (recipe.steps, recipe.optimization.learning_rate) == (7, 0.5)
    assert recipe.optimization.optimizer == load_fine_tune_recipe().optimization.optimizer
    changes.write_text("stepz: 7\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml does not work: stepz"):
        load_fine_tune_recipe(changes)


@pytest.mark.parametrize(("replay", "replayed"), [(0, 0), (0.01, 1), (0.2, 2), (0.25, 2), (0.9, 7)])
def test_a_step_replays_its_share(replay, replayed):
    chosen = load_fine_tune_recipe(overrides=["batch_size=8", f"replay={replay}"])
    assert chosen.replayed == replayed


class Counted(Discs):
    """Counts how often an image is read."""

    read = 0

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def test_of_the_samples_of_a_step_its_share_is_replayed(base, tmp_path):
    accepted, others = Counted(6), Counted(3)
    once_each = ("replay_sampling.copy_paste.probability=0", "specialise=false")
    data = FineTuneData(accepted, Discs(6), others, None)
    run(base, tmp_path / "job", "batch_size=4", "replay=0.25", "steps=2", *once_each, data=data)
    assert (accepted.read, others.read) == (2 * 3, 2 * 1)


@pytest.mark.parametrize("name", ["sampling", "replay_sampling"])
def test_samples_without_room_for_iterative_clicks_are_refused(name):
    with pytest.raises(RecipeError, match="slots 2 has no room for 6 iterative clicks"):
        load_fine_tune_recipe(overrides=[f"{name}.clicks.slots=2"])


def test_images_longer_than_can_be_augmented_are_shrunk_in_any_case():
    with pytest.raises(RecipeError, match=r"max_side.* 32766"):
        load_fine_tune_recipe(overrides=["max_side=32767"])


def test_replay_that_leaves_nothing_to_learn_is_refused():
    with pytest.raises(RecipeError, match="leaves none of batch_size 1"):
        load_fine_tune_recipe(overrides=["batch_size=1"])


def test_batches_in_pieces_are_refused_instead_of_ignored():
    with pytest.raises(RecipeError, match=r"choose a smaller batch_size or size"):
        load_fine_tune_recipe(overrides=["optimization.accumulate=2"])
