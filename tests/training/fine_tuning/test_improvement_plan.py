"""What a job learns from, and what it makes of settings that were changed since it began."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count

import numpy as np
import pytest
from sqlalchemy import select

from tests.training import version_files
from tests.training.disc_project import (
    PROJECT,
    accept,
    disc,
    draw_data_set,
    fill,
    job,
    options,
    quiet,
)
from training.datasets import large_images
from training.errors import DatasetError
from training.fine_tuning import improvement, improvement_plan, trial
from training.fine_tuning.improvement import improve
from training.fine_tuning.improvement_plan import base_of, frozen_plan, is_left_over
from training.fine_tuning.judge import Judge
from training.fine_tuning.retention import RetentionSet
from training.object_names import image_of
from training.store.live_pointer import Mover, promote, roll_back
from training.store.model_versions import Candidate
from training.store.object_mask import AcceptedObject, ObjectMask
from training.store.sample_rows import SampleRow
from training.store.samples import Annotation, SampleStore
from training.store.split import HELD_OUT, TRAINING, VALIDATION, image_hash, split_of
from training.store.version_decisions import decline


@pytest.fixture
def stores(tmp_path):
    stores = fill(tmp_path, discs=2)
    candidate = Candidate("job 0", tmp_path / "base.safetensors", project=PROJECT, parent=1)
    number = stores.versions.publish(candidate)
    stores.versions.move(
        partial(promote, project=PROJECT, version=number, mover=Mover("ann", "better"))
    )
    yield stores
    stores.database.close()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param(
            options("steps=9", "optimization.clip_grad_norm=0.5"),
            "steps, optimization",
            id="recipe",
        ),
        pytest.param(options(start="base"), "the version to start from", id="start"),
    ],
)
def test_a_continued_job_says_that_it_keeps_the_settings_it_began_with(
    stores, tmp_path, caplog, changed, said
):
    caplog.set_level("INFO", "training.fine_tuning.improvement_plan")
    began = frozen_plan(job(tmp_path), stores, options(), quiet)
    assert frozen_plan(job(tmp_path), stores, options(), quiet) == began
    for _ in range(2):
        frozen_plan(job(tmp_path, 2), stores, options(start="base"), quiet)
    elsewhere = frozen_plan(job(tmp_path), stores, options("device=cuda:1"), quiet)
    assert elsewhere.recipe_on("cuda:1").device == "cuda:1", "it learns the same there"
    assert caplog.messages == []
    assert frozen_plan(job(tmp_path), stores, changed, quiet) == began
    assert caplog.messages == [
        "job 1 continues with the settings it began with; what was changed meanwhile holds for "
        f"the next: {said}"
    ]


def held_out_disc():
    return next(n for n in count() if split_of(image_hash(disc(n)[0])) == HELD_OUT)


def judge_of(folder, stores, asked):
    plan = frozen_plan(job(folder), stores, asked, quiet)
    return Judge(job(folder), plan, stores, asked, RetentionSet(asked.retention), quiet)


def test_a_job_judges_by_a_held_out_object_once_though_two_annotators_outlined_it(tmp_path):
    stores = fill(tmp_path, discs=0)
    image, mask = disc(held_out_disc())
    for annotation in range(2):
        outlined = ObjectMask.of(np.roll(mask, annotation, axis=1))
        at = datetime(2026, 1, 1 + annotation, tzinfo=UTC)
        state = Annotation(PROJECT, annotation, 7, at, "accepted", image)
        objects = (AcceptedObject("r", "Object", outlined),)
        SampleStore(stores.database, stores.files).replace(replace(state, objects=objects))
    plan = frozen_plan(job(tmp_path), stores, options(), quiet)
    assert len(plan.snapshot.samples) == 1
    outcome = improve(job(tmp_path), stores, options(), quiet)
    assert "no accepted mask is on an image that may be trained on" in outcome.sentence
    stores.database.close()


def test_each_side_is_judged_in_as_many_tries_as_are_said_of_it(tmp_path):
    stores = fill(tmp_path, discs=0)
    accept(SampleStore(stores.database, stores.files), held_out_disc())
    for side, seeds in (("replayed", [500]), ("judged", range(501, 504))):
        draw_data_set(tmp_path / "retention" / side, seeds)
    asked = replace(options(retention=tmp_path / "retention"), held_out_tries=4)
    judge = judge_of(tmp_path, stores, asked)
    tries = {side: (len(one.objects), one.annotators) for side, one in judge.exercises.items()}
    assert tries == {"held_out": (1, 4), "retention": (2, 1)}
    stores.database.close()


def test_where_nothing_is_held_out_and_nothing_to_be_remembered_nothing_is_judged(stores, tmp_path):
    assert judge_of(tmp_path, stores, options()).measure() == ({}, 2)


def sides(items):
    """Of the images that the items are, or are on; the name of an image is its hash."""
    return {split_of(image_of(items[index].name)) for index in range(len(items))}


def learned_from(folder, stores, asked, monkeypatch):
    """Begin a job, and return what it was to learn from."""
    told = []

    def stop(start, first, data, *others, **provenance):
        told.append(data)
        raise InterruptedError

    monkeypatch.setattr(improvement, "fine_tune", stop)
    with pytest.raises(InterruptedError):
        improve(job(folder), stores, asked, quiet)
    return told[0]


def test_no_image_is_trained_on_that_a_version_is_chosen_or_judged_by(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "evaluate", partial(trial.evaluate, max_clicks=1))
    monkeypatch.setattr(improvement_plan, "MOST_PARTS", 9)
    stores, asked = fill(tmp_path, discs=60), options("validation_objects=5")
    data = learned_from(tmp_path, stores, asked, monkeypatch)
    held_out = judge_of(tmp_path, stores, asked).exercises["held_out"].objects
    assert sides(data.accepted) == sides(data.examples) == {TRAINING}
    assert sides(data.validation) == {VALIDATION}
    assert sides(held_out) == {HELD_OUT}
    assert (len(data.accepted), len(data.validation), len(held_out)) == (9, 5, 3), "at most"
    assert len(data.examples) > 9
    stores.database.close()


def test_few_large_images_of_many_objects_are_learned_in_many_parts(tmp_path, monkeypatch):
    """Nearly as many as there may be of all, or small objects would be learned too small to see."""
    monkeypatch.setattr(large_images, "MOST_PARTS", 15)
    stores = fill(tmp_path, discs=0)
    slides = (np.full((64, 800, 3), grey, np.uint8) for grey in count())
    for number in range(2):
        slide = next(each for each in slides if split_of(image_hash(each)) == TRAINING)
        masks = [np.zeros((64, 800), dtype=bool) for _ in range(8)]
        for place, mask in enumerate(masks):
            mask[30:34, 100 * place + 30 :][:, :4] = True
        objects = tuple(AcceptedObject("r", "Dot", ObjectMask.of(mask)) for mask in masks)
        place = (PROJECT, number, number, datetime(2026, 1, 1, tzinfo=UTC), "accepted")
        SampleStore(stores.database, stores.files).replace(Annotation(*place, slide, objects))
    data = learned_from(tmp_path, stores, options("max_side=64"), monkeypatch)
    assert 2 < len(data.accepted) <= 15
    stores.database.close()


def test_images_whose_objects_vanish_when_shrunk_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "evaluate", partial(trial.evaluate, max_clicks=1))
    stores = fill(tmp_path)
    samples = SampleStore(stores.database, stores.files)
    with stores.database.read() as session:
        to_train_on = select(SampleRow.annotation).where(SampleRow.split == TRAINING)
        known = session.scalars(to_train_on).all()
    line = np.zeros((64, 80), dtype=bool)
    line[7] = True

    def accept_lines(numbers):
        for number in numbers:
            moment = datetime(2027, 1, 1, tzinfo=UTC)
            mask = AcceptedObject("r", "Object", ObjectMask.of(line))
            place = (PROJECT, number, number, moment, "accepted")
            samples.replace(Annotation(*place, disc(number)[0], (mask,)))

    accept_lines(known[:-1])
    small = options("max_side=64")
    version = improve(job(tmp_path, 1), stores, small, quiet).version
    assert version is not None
    accept_lines(known[-1:])
    with pytest.raises(DatasetError, match="shrunk to 64 pixels"):
        improve(job(tmp_path, 2), stores, small, quiet)
    stores.database.close()


def test_left_over_is_what_was_to_go_live_and_no_person_has_decided_about(stores, tmp_path):
    versions, ann = stores.versions, Mover("ann", "")

    def made(name, verdict):
        about = {"verdict": verdict, "scores": {"compared_with": 2}}
        return version_files.publish(versions, tmp_path, name, project=PROJECT, **about)

    left, declined, rolled_back = (made(name, "promote") for name in ("a", "b", "c"))
    asked, kept = made("d", "ask"), made("e", "keep")
    versions.move(partial(decline, project=PROJECT, number=declined, mover=ann))
    versions.move(partial(promote, project=PROJECT, version=rolled_back, mover=ann))
    versions.move(partial(roll_back, project=PROJECT, mover=ann))
    numbers = (left, declined, rolled_back, asked, kept)
    assert [n for n in numbers if is_left_over(versions.get(n), versions)] == [left]


def test_a_version_descends_from_what_no_job_has_made_however_long_ago(stores, tmp_path):
    number = version_files.publish(stores.versions, tmp_path, "later", project=PROJECT, parent=2)
    assert [base_of(stores.versions, version) for version in (1, 2, number)] == [1, 1, 1]
