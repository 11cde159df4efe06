from itertools import count

import pytest

from tests.training.store.accepted_annotations import PROJECT, accepted, photo
from training.moments import now
from training.store.sample_files import SampleFiles, mask_key
from training.store.snapshot import (
    SampleReference,
    Snapshot,
    take_snapshot,
    take_snapshot_for_job,
    thinned,
)
from training.store.split import HELD_OUT, TRAINING, VALIDATION, image_hash, split_of


def test_a_job_is_about_as_much_as_it_can_make_use_of(store, database):
    for number in range(60):
        store.replace(accepted(number, image=number % 40, lefts=(2, 7)))
    whole = take_snapshot(database, PROJECT)
    assert thinned(whole, 300, {HELD_OUT: 120, VALIDATION: 24}) == whole
    thin = thinned(whole, 9, {HELD_OUT: 3, VALIDATION: 2})
    assert thin == thinned(whole, 9, {HELD_OUT: 3, VALIDATION: 2})
    assert set(thin.samples) < set(whole.samples)
    assert list(thin.samples) == sorted(thin.samples)
    training = thin.on_side(TRAINING)
    assert len(training.images()) == 9
    assert len(training.samples) == 18, "with all their objects"
    assert len(set(thin.on_side(HELD_OUT).images())) == len(thin.on_side(HELD_OUT).samples) == 3
    assert len(thin.on_side(VALIDATION).samples) == 2
    store.replace(accepted(99, image=99))
    other = thinned(take_snapshot(database, PROJECT), 9, {HELD_OUT: 3, VALIDATION: 2})
    assert set(other.on_side(TRAINING).images()) != set(training.images())


def test_a_crowded_image_does_not_crowd_out_the_others():
    samples = [SampleReference("crowd", f"{n:02}", HELD_OUT) for n in range(50)]
    samples += [SampleReference(f"image {n}", "00", HELD_OUT) for n in range(5)]
    chosen = thinned(Snapshot(tuple(samples)), 300, {HELD_OUT: 10})
    assert [sample.image for sample in chosen.samples].count("crowd") == 5
    assert len(chosen.images()) == 6
    assert thinned(Snapshot(tuple(reversed(samples))), 300, {HELD_OUT: 10}) == chosen


def test_a_snapshot_counts_an_object_once_and_survives_a_file(store, database):
    store.replace(accepted(annotation=4, lefts=(2, 8)))
    store.replace(accepted(annotation=5, lefts=(2,)))
    snapshot = take_snapshot(database, PROJECT)
    assert len(snapshot.samples) == 2
    again = Snapshot.from_json(snapshot.to_json())
    assert again == snapshot
    assert again.fingerprint == snapshot.fingerprint
    store.withdraw(PROJECT, [5])
    assert take_snapshot(database, PROJECT).fingerprint == snapshot.fingerprint
    store.replace(accepted(annotation=4, minute=1, lefts=(2,)))
    assert take_snapshot(database, PROJECT).fingerprint != snapshot.fingerprint


def test_labels_that_were_renamed_make_no_other_snapshot(store, database):
    store.replace(accepted(lefts=(2, 8)))
    snapshot = take_snapshot(database, PROJECT)
    store.relabel(accepted(), {"r2": "Cell", "r8": "Wall"}, now())
    assert take_snapshot(database, PROJECT) == snapshot


def an_image(side):
    return next(number for number in count() if split_of(image_hash(photo(number))) == side)


@pytest.fixture
def for_job(database, files):
    """Takes the snapshot of a job; returns it, and how many masks were read for it."""

    def take():
        reports = []

        def report(*progress):
            reports.append(progress)

        snapshot = take_snapshot_for_job(database, SampleFiles(files), PROJECT, report)
        assert reports == [(done, len(reports)) for done in range(len(reports))]
        return snapshot, len(reports)

    return take


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_a_held_out_object_that_two_annotators_outlined_is_judged_by_once(
    store, database, for_job, is_newest_first
):
    image = an_image(HELD_OUT)
    states = [
        accepted(annotation=4, minute=1, lefts=(1, 9), image=image),
        accepted(annotation=5, minute=2, lefts=(2,), image=image),  # an IoU of .6
    ]
    for state in reversed(states) if is_newest_first else states:
        store.replace(state)
    snapshot, read = for_job()
    assert (len(snapshot.samples), read) == (2, 3)
    assert len(take_snapshot(database, PROJECT).samples) == 3
    store.withdraw(PROJECT, [4])
    (newest,) = take_snapshot(database, PROJECT).samples
    assert newest in snapshot.samples


@pytest.mark.parametrize(
    ("side", "second"),
    [
        (HELD_OUT, {"annotation": 5, "lefts": (4,)}),  # an IoU of .33
        (HELD_OUT, {"annotation": 5, "lefts": (3,), "label": "Cell"}),
        (HELD_OUT, {"annotation": 4, "lefts": (2, 3)}),
        (TRAINING, {"annotation": 5, "lefts": (3,)}),
        (VALIDATION, {"annotation": 5, "lefts": (3,)}),
    ],
)
def test_other_objects_labels_and_sides_all_count(store, for_job, side, second):
    image = an_image(side)
    store.replace(accepted(annotation=6, lefts=(12,), image=image))
    store.replace(accepted(annotation=4, lefts=(2,), image=image))
    store.replace(accepted(minute=1, image=image, **second))
    assert len(for_job()[0].samples) == 3


def test_masks_of_images_with_one_annotation_are_not_read_and_damaged_ones_kept(
    store, database, tmp_path, for_job
):
    image = an_image(HELD_OUT)
    store.replace(accepted(annotation=4, lefts=(2, 8), image=image))
    assert for_job()[1] == 0
    store.replace(accepted(annotation=5, lefts=(3,), minute=1, image=image))
    assert len(for_job()[0].samples) == 2
    for sample in take_snapshot(database, PROJECT).samples:
        (tmp_path / "files" / mask_key(sample.mask)).write_bytes(b"damaged")
    assert len(for_job()[0].samples) == 3, "the job sets them aside when it reads them"
