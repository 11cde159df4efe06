from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from tests.training.store.accepted_annotations import PROJECT, accepted, contents, row_ids
from training.moments import now
from training.store import samples
from training.store.sample_files import SampleFiles
from training.store.sample_overview import new_samples
from training.store.sample_rows import AnnotationRow, DeletedTaskRow, SampleRow
from training.store.stored_files import StoredFiles

OTHER = "2.1800000000"


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


def test_of_many_deletions_every_one_counts(store, database, monkeypatch):
    monkeypatch.setattr(samples, "_PORTION", 2)
    for number in range(10):
        store.replace(accepted(annotation=number))
    store.withdraw(PROJECT, range(5))
    store.withdraw_tasks(PROJECT, range(105, 110))
    assert contents(database) == ([], [])


def test_what_a_deleted_annotation_had_to_say_goes_with_it(store, database):
    store.replace(replace(accepted(), labels_without_mask=("Cell",), notes=("a region is empty",)))
    store.withdraw(PROJECT, [4])
    with database.read() as session:
        row = session.get(AnnotationRow, (PROJECT, 4))
        assert (row.labels_without_mask, row.notes) == ([], [])


def test_a_forgotten_project_leaves_nothing_and_the_others_stay(store):
    store.replace(accepted(annotation=4))
    for project in (PROJECT, OTHER):
        store.withdraw_tasks(project, [105])
    assert store.projects() == {PROJECT, OTHER}
    store.forget(PROJECT)
    assert store.projects() == {OTHER}
    assert store.replace(accepted(annotation=5))


def test_an_unreadable_annotation_is_tried_again_with_the_same_message(store):
    unreadable = accepted(lefts=())
    store.replace(replace(unreadable, status="unreadable"))
    assert store.replace(accepted())


def test_of_unreadable_annotations_the_one_last_tried_longest_ago_comes_first(store):
    store.replace(accepted(6))
    for number in (5, 4, 5):
        store.replace(replace(accepted(number, lefts=()), status="unreadable"))
        tried = store.unreadable(PROJECT)
        assert tried[-1] == number
    assert tried == [4, 5]


def test_projects_do_not_share_annotation_ids(store, database):
    store.replace(accepted())
    store.withdraw(OTHER, [4])
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
    store.withdraw_tasks(PROJECT, [106])
    store.forget_deletions(PROJECT, {5: 105, 6: 106}, listed_at)
    assert store.unlisted(PROJECT, {5}, listed_at) == {}
    assert not store.replace(accepted(annotation=5))
    assert not store.replace(accepted(annotation=6))
    assert set(row_ids(database)) == {"r2"}


def test_what_a_listing_leaves_out_by_itself_is_not_missing(store):
    store.replace(replace(accepted(annotation=4, lefts=()), status="skipped"))
    store.replace(accepted(annotation=5))
    store.withdraw(PROJECT, [5])
    assert store.unlisted(PROJECT, set(), now()) == {}


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


def test_an_object_of_several_regions_has_the_label_of_the_first(store, database):
    (whole,) = accepted().objects
    store.replace(replace(accepted(), objects=(replace(whole, region="r2+r9"),)))
    store.relabel(accepted(), {"r2": "Cell", "r9": "Wall"}, now())
    assert labels(database) == {"r2+r9": "Cell"}


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


def stored_at(database, annotation):
    with database.read() as session:
        return session.get(AnnotationRow, (PROJECT, annotation)).stored_at


def test_what_was_stored_while_the_clock_was_ahead_hides_from_no_job_and_no_listing(
    store, database
):
    store.replace(accepted(annotation=4))
    store.withdraw_tasks(PROJECT, {105})
    with database.write() as session:
        for table in (AnnotationRow, SampleRow, DeletedTaskRow):
            session.execute(update(table).values(stored_at=now() + timedelta(days=365)))
    store.replace(accepted(annotation=6))
    before = stored_at(database, 6)
    store.correct_moments()
    assert stored_at(database, 6) == before
    listed_at = now()
    assert new_samples(database, PROJECT, listed_at).count == 0
    assert store.unlisted(PROJECT, {5, 6}, listed_at) == {104: {4}}
    store.forget_deletions(PROJECT, {5: 105}, listed_at)
    assert store.replace(accepted(annotation=5), listed_at)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (12, 16), (9, 33)])
def test_a_stored_mask_takes_one_bit_a_pixel_and_is_read_as_it_was(tmp_path, size):
    files = SampleFiles(StoredFiles(str(tmp_path), tmp_path))
    for mask in (np.random.default_rng(1).random(size) < 0.5, np.zeros(size, bool)):
        assert (files.read_mask(files.write_mask(mask)) == mask).all()
    assert {file.read_bytes()[24] for file in tmp_path.rglob("*.png")} == {1}  # bits a sample
