"""What a job learns from, and what it makes of settings that were changed since it began."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count

import numpy as np
import pytest

from tests.training import version_files
from tests.training.disc_project import PROJECT, disc, fill, job, options, quiet
from training.datasets.sample import image_of
from training.fine_tuning import improvement, trial
from training.fine_tuning.improvement import improve
from training.fine_tuning.improvement_plan import base_of, frozen_plan
from training.fine_tuning.judge import Judge
from training.fine_tuning.retention import RetentionSet
from training.store.live_pointer import Mover, promote
from training.store.model_versions import Candidate
from training.store.object_mask import AcceptedObject, ObjectMask
from training.store.samples import Annotation, SampleStore
from training.store.split import HELD_OUT, TRAINING, VALIDATION, image_hash, split_of


@pytest.fixture
def stores(tmp_path):
    stores = fill(tmp_path, discs=2)
    candidate = Candidate("job 0", tmp_path / "base.safetensors", PROJECT, parent=1)
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
    elsewhere = frozen_plan(job(tmp_path), stores, options("device=cuda:1"), quiet)
    assert elsewhere.recipe_on("cuda:1").device == "cuda:1", "it learns the same there"
    assert caplog.messages == []
    assert frozen_plan(job(tmp_path), stores, changed, quiet) == began
    assert caplog.messages == [
        "job 1 continues with the settings it began with; what was changed meanwhile holds for "
        f"the next: {said}"
    ]


def test_a_job_judges_by_a_held_out_object_once_though_two_annotators_outlined_it(tmp_path):
    stores = fill(tmp_path, discs=0)
    seed = next(n for n in count() if split_of(image_hash(disc(n)[0])) == HELD_OUT)
    image, mask = disc(seed)
    for annotation in range(2):
        outlined = ObjectMask.of(np.roll(mask, annotation, axis=1))
        at = datetime(2026, 1, 1 + annotation, tzinfo=UTC)
        state = Annotation(PROJECT, annotation, 7, at, "accepted", image)
        objects = (AcceptedObject("r", "Object", outlined),)
        SampleStore(stores.database, stores.files).replace(replace(state, objects=objects))
    plan = frozen_plan(job(tmp_path), stores, options(), quiet)
    assert len(plan.snapshot.samples) == 1
    stores.database.close()


def sides(items):
    """Of the images that the items are, or are on; the name of an image is its hash."""
    return {split_of(image_of(items[index].name)) for index in range(len(items))}


def test_no_image_is_trained_on_that_a_version_is_chosen_or_judged_by(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "evaluate", partial(trial.evaluate, max_clicks=1))
    learned_from = []

    def stop(start, first, data, *told, **provenance):
        learned_from.append(data)
        raise InterruptedError

    monkeypatch.setattr(improvement, "fine_tune", stop)
    stores, asked = fill(tmp_path, discs=60), options("validation_objects=5")
    with pytest.raises(InterruptedError):
        improve(job(tmp_path), stores, asked, quiet)
    (data,) = learned_from
    plan = frozen_plan(job(tmp_path), stores, asked, quiet)
    retention = RetentionSet(asked.retention)
    judge = Judge(job(tmp_path), plan, stores, asked, retention, quiet)
    assert sides(data.accepted) == sides(data.examples) == {TRAINING}
    assert sides(data.validation) == {VALIDATION}
    assert sides(judge.exercises["held_out"].objects) == {HELD_OUT}
    stores.database.close()


def test_a_version_descends_from_what_no_job_has_made_however_long_ago(stores, tmp_path):
    number = version_files.publish(stores.versions, tmp_path, "later", project=PROJECT, parent=2)
    assert [base_of(stores.versions, version) for version in (1, 2, number)] == [1, 1, 1]
