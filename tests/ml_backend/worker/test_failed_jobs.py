"""What a failed job was to learn is tried again, and not for ever."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from ml_backend.fine_tune_jobs import JobRow
from ml_backend.next_job import AGAIN, next_job
from ml_backend.projects import ProjectNews
from ml_backend.worker import Worker
from tests.ml_backend.worker.disc_tasks import PROJECT, move_back
from tests.training.disc_project import accept
from training.moments import now
from training.sample_rows import SampleRow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GIVEN_UP = "failed and is not tried again by itself. New masks: "


@pytest.fixture
def learning(learning):
    """The stores, with a project that has a mask of long ago."""
    learning.projects.remember(PROJECT, ProjectNews("Discs", "<View/>"))
    accept(learning.samples, 0, PROJECT)
    move_back(learning, SampleRow, stored_at=now() - 30 * DAY)
    return learning


def fail(learning, ago, reason=None):
    """Let the job that waits fail, or one that is asked for, so long ago."""
    if reason is not None:
        learning.jobs.request(PROJECT, reason)
    job = learning.jobs.claim("worker")
    learning.jobs.fail(job.id, "worker", "No space left on device")
    with learning.stores.database.write() as session:
        row = session.get(JobRow, job.id)
        row.started_at = row.finished_at = now() - ago


def reasons_after_a_tick(worker, learning):
    """Return why there is another job, None if there is none."""
    worker.tick()
    newest = learning.jobs.of_project(PROJECT)[0]
    return newest.reasons if newest.state == "waiting" else None


def give_up(learning):
    fail(learning, ago=4 * DAY, reason="Start training")
    for days in (3, 2, 1):
        fail(learning, ago=days * DAY, reason=AGAIN)


def test_it_is_tried_again_ever_more_rarely(learning, worker):
    fail(learning, ago=4 * HOUR, reason="1 new samples")
    for hours in (1, 2, 4):
        move_back(learning, JobRow, finished_at=now() - timedelta(hours=hours, minutes=-1))
        assert reasons_after_a_tick(worker, learning) is None
        move_back(learning, JobRow, finished_at=now() - timedelta(hours=hours))
        assert reasons_after_a_tick(worker, learning) == [AGAIN]
        fail(learning, ago=timedelta(0))


@pytest.mark.parametrize("is_new", [True, False])
def test_a_job_that_a_person_asked_for_is_tried_again_whatever_the_threshold(
    learning, worker, is_new
):
    if not is_new:
        learning.jobs.request(PROJECT, "20 new samples")
        learning.jobs.finish(learning.jobs.claim("worker").id, "worker", "kept", "no better", 2)
    fail(learning, ago=HOUR / 2, reason="Start training")
    assert reasons_after_a_tick(worker, learning) is None
    move_back(learning, JobRow, finished_at=now() - HOUR)
    assert reasons_after_a_tick(worker, learning) == [AGAIN]


@pytest.mark.parametrize("schedule", ["", "* * * * *"])
def test_after_three_days_it_is_tried_again_no_more(learning, schedule):
    every_way = {"fine_tune_after": 1, "fine_tune_schedule": schedule}
    changed = replace(learning, settings=learning.settings.model_copy(update=every_way))
    worker = Worker(changed, threading.Event())
    fail(changed, ago=2 * DAY, reason="Start training")
    assert "for 3 days in all; to end that, cancel the next job" in next_job(changed, PROJECT)
    assert reasons_after_a_tick(worker, changed) == [AGAIN]
    fail(changed, ago=timedelta(0))
    assert "What job 2 was to learn is tried again" in next_job(changed, PROJECT)
    move_back(learning, JobRow, finished_at=now() - 3 * DAY)
    assert f"Job 2 {GIVEN_UP}1; the next job starts after 1 more" in next_job(changed, PROJECT)
    assert reasons_after_a_tick(worker, changed) is None


def test_a_failure_of_long_ago_is_not_tried_again_when_a_worker_starts(learning, worker):
    fail(learning, ago=10 * DAY, reason="20 new samples")
    assert GIVEN_UP in next_job(learning, PROJECT)
    assert reasons_after_a_tick(worker, learning) is None


def test_masks_that_are_new_since_begin_anew(learning, worker):
    give_up(learning)
    assert next_job(learning, PROJECT).endswith("the next job starts after 4 more")
    for disc in range(1, 5):
        accept(learning.samples, disc, PROJECT)
    assert "New masks: 5; the next job starts within a minute" in next_job(learning, PROJECT)
    assert reasons_after_a_tick(worker, learning) == ["5 new samples"]
    fail(learning, ago=timedelta(0))
    assert "tried again" in next_job(learning, PROJECT)
    move_back(learning, SampleRow, stored_at=now() - 30 * DAY)
    move_back(learning, JobRow, finished_at=now() - DAY)
    assert reasons_after_a_tick(worker, learning) == [AGAIN]


@pytest.mark.parametrize("while_it_waits", [True, False])
def test_a_person_who_asks_begins_anew(learning, worker, while_it_waits):
    give_up(learning)
    if while_it_waits:
        learning.jobs.request(PROJECT, AGAIN)
    fail(learning, ago=DAY, reason="Start training")
    assert reasons_after_a_tick(worker, learning) == [AGAIN]


def test_whoever_cancels_the_next_try_ends_it(learning, worker):
    fail(learning, ago=HOUR, reason="Start training")
    assert reasons_after_a_tick(worker, learning) == [AGAIN]
    learning.jobs.cancel(2)
    assert reasons_after_a_tick(worker, learning) is None
