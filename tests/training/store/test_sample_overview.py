"""The numbers of a project, on SQLite and, where TEST_POSTGRESQL names one, on PostgreSQL."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert
from sqlalchemy.engine import Engine

from tests.training.empty_databases import DATABASES, empty_database
from training.store.database import Database
from training.store.sample_overview import (
    MOST_STEPS,
    noteworthy_annotations,
    sample_counts,
    sample_growth,
)
from training.store.sample_rows import AnnotationRow, SampleRow

PROJECT = "7.1700000000"
START = datetime(2026, 11, 22, 6, tzinfo=UTC)


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    with empty_database(request.param, tmp_path) as database:
        database.create(AnnotationRow, SampleRow)
        yield database


def annotation(number, status="accepted", labels=(), notes=()):
    return {
        "project": PROJECT, "annotation": number, "task": number, "status": status,
        "updated_at": START + timedelta(minutes=number), "stored_at": START,
        "labels_without_mask": list(labels), "notes": list(notes),
    }  # fmt: skip


def sample(of, at, image="i", label="Object", split="training"):
    return {
        "project": PROJECT, "annotation": of, "region": "r", "label": label,
        "image": image, "mask": "m", "split": split,
        "accepted_at": at, "stored_at": START,
    }  # fmt: skip


def fill(database, annotations, samples=()):
    with database.write() as session:
        session.execute(insert(AnnotationRow), annotations)
        if samples:
            session.execute(insert(SampleRow), samples)


def test_what_is_usable_is_counted(database):
    fill(
        database,
        [annotation(1), annotation(2), annotation(3, "unreadable")],
        [
            sample(1, START, "a", "Cat"),
            sample(1, START, "a", "Dog"),
            sample(2, START, "b", "Dog", "held_out"),
            sample(3, START, "c", "Cow"),
        ],
    )
    counts = sample_counts(database, PROJECT)
    assert (counts.samples, counts.images) == (3, 2)
    assert counts.by_split == {"training": 2, "held_out": 1}
    assert list(counts.by_label.items()) == [("Dog", 2), ("Cat", 1)]


def test_nothing_accepted_is_nothing(database):
    counts = sample_counts(database, PROJECT)
    assert (counts.samples, counts.images, counts.by_split, counts.by_label) == (0, 0, {}, {})
    assert sample_growth(database, PROJECT) == []


def test_growth_has_a_step_for_each_minute_with_news(database):
    seconds = (0, 20, 70, 3600)
    moments = [START + timedelta(seconds=seconds) for seconds in seconds]
    fill(database, [annotation(1)], [sample(1, moment) for moment in reversed(moments)])
    _, *last_of_a_minute = moments
    assert sample_growth(database, PROJECT) == list(zip(last_of_a_minute, (2, 3, 4), strict=True))


def test_years_of_growth_have_no_more_steps_than_a_chart_shows(database):
    moments = [START + timedelta(hours=hour) for hour in range(2000)]
    fill(database, [annotation(1)], [sample(1, moment) for moment in moments])
    growth = sample_growth(database, PROJECT)
    assert MOST_STEPS / 2 < len(growth) <= MOST_STEPS + 1
    assert growth == sorted(growth)
    assert growth[-1] == (moments[-1], 2000)
    assert all(count == moments.index(moment) + 1 for moment, count in growth)


def test_the_urgent_are_named_one_by_one_the_newest_first_and_the_rest_are_counted(database):
    fill(
        database,
        [
            annotation(1, "unreadable", notes=["404"]),
            annotation(2, "empty", labels=["Object"]),
            annotation(3, "deleted", notes=["404"]),
            annotation(4),
            annotation(5, "unreadable", notes=["404"]),
            annotation(6, notes=["boxes ignored"]),
        ],
    )
    found = noteworthy_annotations(database, PROJECT, limit=2)
    assert [row.annotation for row in found.urgent] == [5, 2]
    assert found.more_urgent == 1
    assert noteworthy_annotations(database, "8.1").more_urgent == 0


def test_what_was_left_out_alike_is_said_once_with_some_tasks(database):
    fill(
        database,
        [
            *(annotation(number, notes=["boxes ignored"]) for number in range(10, 40)),
            annotation(5, "empty", notes=["boxes ignored"]),
            annotation(50, notes=["boxes ignored", "region 'a' is empty"]),
            annotation(60, "unreadable", notes=["boxes ignored"]),
            *(annotation(number, notes=["polygons ignored"]) for number in (70, 71)),
        ],
    )
    found = noteworthy_annotations(database, PROJECT)
    assert [(kind.notes, kind.annotations, kind.tasks) for kind in found.left_out] == [
        (["polygons ignored"], 2, [71, 70]),
        (["boxes ignored", "region 'a' is empty"], 1, [50]),
        (["boxes ignored"], 31, [39, 38, 37, 36, 35]),
    ]
    assert found.more_left_out == 0
    assert noteworthy_annotations(database, PROJECT, kinds=1).more_left_out == 32


@pytest.fixture
def handed_over():
    """The rows that SQLite hands over to Python."""
    rows, here = [], threading.get_ident()

    def watch(connection, _record):
        # The backends of other tests may look into their databases still, from other threads.
        if threading.get_ident() == here:
            connection.row_factory = lambda _cursor, row: rows.append(row) or row

    event.listen(Engine, "connect", watch)
    yield rows
    event.remove(Engine, "connect", watch)


def test_what_python_sees_does_not_grow_with_the_project(handed_over, tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    database.create(AnnotationRow, SampleRow)
    moments = [START + timedelta(minutes=minute) for minute in range(2000)]
    fill(
        database,
        [
            *(annotation(number, notes=["boxes ignored"]) for number in range(2000)),
            *(
                annotation(number, notes=[f"region {number} is empty"])
                for number in range(3000, 4000)
            ),
            *(annotation(number, "unreadable", notes=["404"]) for number in range(4000, 5000)),
        ],
        [sample(number, moment, str(number)) for number, moment in enumerate(moments)],
    )
    handed_over.clear()
    assert sample_counts(database, PROJECT).images == 2000
    assert len(handed_over) <= 3
    sample_growth(database, PROJECT)
    noteworthy_annotations(database, PROJECT, limit=100)
    assert len(handed_over) < 700
    database.close()
