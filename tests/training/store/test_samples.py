import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from training.errors import FileStoreError
from training.moments import now
from training.store import sample_files, samples
from training.store.damaged_samples import set_aside_damaged
from training.store.database import Database
from training.store.object_mask import ObjectMask
from training.store.sample_files import SampleFiles
from training.store.sample_overview import new_samples
from training.store.sample_rows import AnnotationRow, DeletedTaskRow, SampleRow, usable_samples
from training.store.samples import AcceptedObject, Annotation, SampleStore
from training.store.snapshot import SampleReference, Snapshot, take_snapshot, thinned
from training.store.split import HELD_OUT, TRAINING, VALIDATION, image_hash
from training.store.stored_files import StoredFiles

START = datetime(2026, 11, 22, 6, tzinfo=timezone.utc)
PROJECT = "2.1795327560"


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    yield database
    database.close()


@pytest.fixture
def files(tmp_path):
    return StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")


@pytest.fixture
def store(database, files):
    return SampleStore(database, files)


@pytest.fixture
def set_aside(database, files):
    def set_aside(images=None, report=lambda done, total: None):
        images = take_snapshot(database, PROJECT).images() if images is None else images
        return set_aside_damaged(database, SampleFiles(files), PROJECT, images, report)

    return set_aside


def photo(number):
    return np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)


def square(left):
    mask = np.zeros((12, 16), dtype=bool)
    mask[3:8, left : left + 4] = True
    return ObjectMask.of(mask)


def accepted(annotation=4, minute=0, lefts=(2,), image=1, label="Object"):
    return Annotation(
        project=PROJECT,
        annotation=annotation,
        task=annotation + 100,
        updated_at=START + timedelta(minutes=minute),
        status="accepted" if lefts else "empty",
        image=photo(image) if lefts else None,
        objects=tuple(AcceptedObject(f"r{left}", label, square(left)) for left in lefts),
    )


def contents(database, project=PROJECT):
    """What the store holds, without row numbers and the times at which rows were written."""
    with database.read() as session:
        samples = [
            (row.annotation, row.region, row.label, row.image, row.mask, row.area, row.split)
            for row in session.scalars(select(SampleRow).where(SampleRow.project == project))
        ]
        annotations = [
            (row.annotation, row.status, row.updated_at)
            for row in session.scalars(
                select(AnnotationRow).where(AnnotationRow.project == project)
            )
            if row.status != "deleted"
        ]
    return sorted(samples), sorted(annotations)


def row_ids(database):
    with database.read() as session:
        return {row.region: row.id for row in session.scalars(select(SampleRow))}


def test_an_update_replaces_and_unchanged_samples_keep_their_row(store, database):
    store.replace(accepted(lefts=(2, 8)))
    before = row_ids(database)
    assert store.replace(accepted(minute=1, lefts=(8, 11)))
    after = row_ids(database)
    assert set(after) == {"r8", "r11"}
    assert after["r8"] == before["r8"]


def test_a_message_delivered_twice_changes_nothing(store):
    assert store.replace(accepted())
    assert not store.wants(accepted())
    assert not store.replace(accepted())


def test_an_older_message_is_ignored(store, database):
    store.replace(accepted(minute=5, lefts=(2, 8)))
    assert not store.replace(accepted(minute=1, lefts=(2,)))
    assert set(row_ids(database)) == {"r2", "r8"}


def test_a_deletion_that_overtakes_its_annotation_wins(store, database):
    store.withdraw(PROJECT, [4])
    assert not store.replace(accepted())
    assert contents(database) == ([], [])


def test_deleting_a_task_withdraws_its_annotations_and_those_that_come_late(store, database):
    store.replace(accepted(annotation=4))
    store.withdraw_tasks(PROJECT, [104, 105])
    assert not store.replace(accepted(annotation=5))
    assert contents(database) == ([], [])


def test_an_unreadable_annotation_is_tried_again_with_the_same_message(store):
    unreadable = accepted(lefts=())
    store.replace(replace(unreadable, status="unreadable"))
    assert store.replace(accepted())


def test_damaged_files_are_taken_out_and_the_same_message_brings_them_back(
    store, database, tmp_path, set_aside
):
    store.replace(accepted(4, image=1))
    store.replace(accepted(5, image=2, lefts=(2, 7)))
    before = contents(database)
    kept = image_hash(photo(1))
    for file in (tmp_path / "files" / "images").rglob("*.png"):
        if file.stem != kept:
            file.unlink()
    assert set_aside() == 1
    with database.read() as session:
        row = session.get(AnnotationRow, (PROJECT, 5))
        assert row.status == "unreadable"
        assert "missing" in row.notes[0]
        assert session.scalars(usable_samples(PROJECT, SampleRow.annotation)).all() == [4]
    assert store.replace(accepted(5, image=2, lefts=(2, 7)))
    assert contents(database) == before
    assert set_aside() == 0


def test_what_an_annotation_has_already_is_not_encoded_again_unless_it_was_set_aside(
    store, database, tmp_path, monkeypatch, set_aside
):
    encoded, png = [], sample_files._png
    monkeypatch.setattr(sample_files, "_png", lambda *of: encoded.append(1) or png(*of))
    store.replace(accepted(lefts=(2, 8)))
    assert len(encoded) == 3  # the image and two masks
    store.replace(accepted(minute=1, lefts=(8, 11)))
    assert len(encoded) == 4
    store.replace(accepted(5, lefts=(8,)))
    for file in (tmp_path / "files").rglob("*.png"):
        file.write_bytes(b"damaged")
    store.replace(accepted(minute=2, lefts=(8, 11)))
    assert len(encoded) == 6
    assert set_aside() == 2
    assert store.replace(accepted(minute=2, lefts=(8, 11)))
    assert len(encoded) == 9
    assert set_aside() == 0
    assert len(take_snapshot(database, PROJECT).samples) == 2


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (12, 16), (9, 33)])
def test_a_stored_mask_takes_one_bit_a_pixel_and_is_read_as_it_was(tmp_path, size):
    files = SampleFiles(StoredFiles(str(tmp_path), tmp_path))
    for mask in (np.random.default_rng(1).random(size) < 0.5, np.zeros(size, bool)):
        assert (files.read_mask(files.write_mask(mask)) == mask).all()
    assert {file.read_bytes()[24] for file in tmp_path.rglob("*.png")} == {1}  # bits a sample


def test_files_that_were_away_for_a_moment_cost_no_sample(store, database, tmp_path, set_aside):
    store.replace(accepted(4))
    (tmp_path / "files").rename(tmp_path / "not mounted")
    assert set_aside() == 1
    assert take_snapshot(database, PROJECT).samples == ()
    store.replace(replace(accepted(4, lefts=()), status="unreadable", notes=("image is 404",)))
    shutil.rmtree(tmp_path / "files", ignore_errors=True)
    (tmp_path / "not mounted").rename(tmp_path / "files")
    assert set_aside() == 0
    assert len(take_snapshot(database, PROJECT).samples) == 1


def test_what_is_deleted_while_files_are_read_stays_deleted_whatever_the_clock(
    store, database, tmp_path, set_aside, monkeypatch
):
    store.replace(accepted())
    shutil.rmtree(tmp_path / "files")
    monkeypatch.setattr(samples, "now", lambda: now() - timedelta(minutes=1))
    assert set_aside(report=lambda done, total: store.withdraw(PROJECT, [4])) == 0
    assert not store.replace(accepted())
    assert contents(database) == ([], [])


def test_files_that_were_away_for_a_moment_cost_no_note(store, database, tmp_path, set_aside):
    store.replace(replace(accepted(), notes=("a region is empty",)))
    (tmp_path / "files").rename(tmp_path / "not mounted")
    assert set_aside() == 1
    (tmp_path / "not mounted").rename(tmp_path / "files")
    assert set_aside() == 0
    with database.read() as session:
        assert session.get(AnnotationRow, (PROJECT, 4)).notes == ["a region is empty"]


def test_files_that_cannot_be_read_now_are_not_taken_for_damaged(
    store, database, tmp_path, set_aside
):
    store.replace(accepted())
    (mask,) = (tmp_path / "files" / "masks").rglob("*.png")
    mask.unlink()
    mask.mkdir()
    with pytest.raises(FileStoreError, match="cannot be read"):
        set_aside()
    assert len(row_ids(database)) == 1


def test_of_many_files_only_those_are_read_that_a_job_needs(store, database, set_aside):
    for number in range(6):
        store.replace(accepted(number, image=number))
    told = []
    images = take_snapshot(database, PROJECT).images()[:2]
    assert set_aside(images, lambda *progress: told.append(progress)) == 0
    assert [total for _, total in told] == [3] * 3, "two images that share a mask"


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
    samples = [SampleReference("crowd", f"{n:02}", "", HELD_OUT, 9) for n in range(50)]
    samples += [SampleReference(f"image {n}", "00", "", HELD_OUT, 9) for n in range(5)]
    chosen = thinned(Snapshot(tuple(samples)), 300, {HELD_OUT: 10})
    assert [sample.image for sample in chosen.samples].count("crowd") == 5
    assert len(chosen.images()) == 6
    assert thinned(Snapshot(tuple(reversed(samples))), 300, {HELD_OUT: 10}) == chosen


def test_projects_do_not_share_annotation_ids(store, database):
    store.replace(accepted())
    store.withdraw("2.1800000000", [4])
    assert len(row_ids(database)) == 1


def test_the_listing_says_what_may_be_gone_and_takes_back_what_is_there(store, database):
    store.replace(accepted(annotation=4))
    store.replace(accepted(annotation=5, lefts=(8,)))
    store.withdraw_tasks(PROJECT, [105])
    listed_at = now()
    store.forget_deletions(PROJECT, {5: 105}, listed_at)
    assert store.replace(accepted(annotation=5, lefts=(8,)))
    assert store.unlisted(PROJECT, {5}, listed_at) == {104: {4}}
    assert set(row_ids(database)) == {"r2", "r8"}


def test_the_listing_knows_nothing_of_what_happened_after_it_began(store, database):
    listed_at = now()
    store.replace(accepted(annotation=4))
    store.withdraw(PROJECT, [5])
    store.forget_deletions(PROJECT, {5: 105}, listed_at)
    assert store.unlisted(PROJECT, {5}, listed_at) == {}
    assert not store.replace(accepted(annotation=5))
    assert set(row_ids(database)) == {"r2"}


def test_a_listing_takes_back_a_state_that_is_newer_here_unless_it_was_stored_meanwhile(
    store, database
):
    store.replace(accepted(minute=5, lefts=(2, 8)))
    listed_at = now()
    assert not store.wants(accepted(minute=1))
    assert store.wants(accepted(minute=1), listed_at)
    assert not store.wants(accepted(minute=5), listed_at)
    assert store.replace(accepted(minute=1), listed_at)
    assert set(row_ids(database)) == {"r2"}
    assert not store.replace(accepted(minute=0), listed_at)  # stored after the listing began
    assert set(row_ids(database)) == {"r2"}


def labels(database):
    with database.read() as session:
        return {row.region: row.label for row in session.scalars(select(SampleRow))}


def test_labels_that_were_renamed_are_renamed_here_unless_stored_meanwhile(store, database):
    before = now()
    store.replace(accepted(lefts=(2, 8)))
    rows = row_ids(database)
    store.relabel(accepted(), {"r2": "Cell", "r9": "Wall"}, before)
    assert labels(database) == {"r2": "Object", "r8": "Object"}
    store.relabel(accepted(), {"r2": "Cell", "r9": "Wall"}, now())
    assert labels(database) == {"r2": "Cell", "r8": "Object"}
    assert row_ids(database) == rows


def messages(project):
    of_project = [
        accepted(annotation=4, minute=0, lefts=(2,)),
        accepted(annotation=4, minute=1, lefts=(2, 8)),
        accepted(annotation=4, minute=2, lefts=(8,), label="Other"),
        accepted(annotation=5, minute=0, lefts=(1, 9), image=2),
        accepted(annotation=5, minute=3, lefts=()),
        accepted(annotation=6, minute=0, lefts=(3,), image=3),
        accepted(annotation=7, minute=0, lefts=(3,), image=3),
        accepted(annotation=8, minute=0, lefts=(5,), image=3),
    ]
    return [
        *(("replace", replace(message, project=project)) for message in of_project),
        ("withdraw", project, [6]),
        ("withdraw_tasks", project, [108]),
    ]


NUMBER_OF_MESSAGES = len(messages(PROJECT))


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.permutations(range(NUMBER_OF_MESSAGES)),
    again=st.lists(st.integers(0, NUMBER_OF_MESSAGES - 1), max_size=4),
    number=st.uuids(),
)
def test_any_order_with_any_repetition_leaves_the_same_store(store, database, order, again, number):
    for project, delivered in (
        ("in order", range(NUMBER_OF_MESSAGES)),
        (str(number), [*again, *order, *again]),
    ):
        sent = messages(project)
        for position in delivered:
            method, *arguments = sent[position]
            getattr(store, method)(*arguments)
    expected = contents(database, "in order")
    assert contents(database, str(number)) == expected
    assert [annotation for annotation, *_ in expected[1]] == [4, 5, 7]


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


def test_what_was_stored_while_the_clock_was_ahead_hides_from_no_job_and_no_listing(
    store, database
):
    store.replace(accepted(annotation=4))
    store.withdraw_tasks(PROJECT, {105})
    with database.write() as session:
        for table in (AnnotationRow, SampleRow, DeletedTaskRow):
            session.execute(update(table).values(stored_at=now() + timedelta(days=365)))
    store.correct_moments()
    listed_at = now()
    assert new_samples(database, PROJECT, listed_at).count == 0
    assert store.unlisted(PROJECT, {5}, listed_at) == {104: {4}}
    store.forget_deletions(PROJECT, {5: 105}, listed_at)
    assert store.replace(accepted(annotation=5), listed_at)
