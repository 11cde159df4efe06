"""What a failed job was to learn is tried again, and not for ever."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.next_job import AGAIN, next_job
from ml_backend.learning.projects import ProjectNews
from ml_backend.learning.worker import Worker
from tests.ml_backend.learning.worker.disc_tasks import PROJECT, move_back
from tests.training.disc_project import accept
from training.moments import now
from training.store.sample_rows import SampleRow

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


def give_up(learning, ago=DAY):
    fail(learning, ago + 6 * DAY, reason="Start training")
    for days in (5, 4, 3, 2, 1, 0):
        fail(learning, ago + days * DAY, reason=AGAIN)


def changed_to(learning, **settings):
    return replace(learning, settings=learning.settings.model_copy(update=settings))


def test_it_is_tried_again_ever_more_rarely(learning, worker):
    fail(learning, ago=4 * HOUR, reason="1 new sample")
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
        learning.jobs.finish(
            learning.jobs.claim("worker").id, "worker", "not better", "no better", 2
        )
    fail(learning, ago=HOUR / 2, reason="Start training")
    assert reasons_after_a_tick(worker, learning) is None
    move_back(learning, JobRow, finished_at=now() - HOUR)
    assert reasons_after_a_tick(worker, learning) == [AGAIN]


@pytest.mark.parametrize("schedule", ["", "* * * * *"])
def test_after_six_tries_it_is_tried_again_no_more(learning, schedule):
    changed = changed_to(learning, fine_tune_after=1, fine_tune_schedule=schedule)
    worker = Worker(changed, threading.Event())
    fail(changed, ago=0 * DAY, reason="Start training")
    for number in range(1, 7):
        said = next_job(changed, PROJECT).next_job
        assert f"What job {number} was to learn is tried again after" in said
        assert "and ever more rarely, 6 times in all; to end that" in said
        move_back(learning, JobRow, finished_at=now() - DAY)
        assert reasons_after_a_tick(worker, changed) == [AGAIN]
        fail(changed, ago=timedelta(0))
    move_back(learning, JobRow, finished_at=now() - 3 * DAY)
    assert (
        f"Job 7 {GIVEN_UP}1; the next job starts after 1 more"
        in next_job(changed, PROJECT).next_job
    )
    assert reasons_after_a_tick(worker, changed) is None


def test_a_worker_that_was_away_for_long_tries_again(learning, worker):
    fail(learning, ago=10 * DAY, reason="20 new samples")
    assert "What job 1 was to learn is tried again" in next_job(learning, PROJECT).next_job
    assert reasons_after_a_tick(worker, learning) == [AGAIN]


@pytest.mark.parametrize("is_given_up", [False, True])
def test_a_failure_that_lies_ahead_does_not_wait_for_the_clock(learning, worker, is_given_up):
    if is_given_up:
        give_up(learning, ago=-5 * DAY)
    else:
        fail(learning, ago=-5 * DAY, reason="Start training")
    before = now()
    said = next_job(learning, PROJECT).next_job
    assert any(f"is tried again after {day:%Y-%m-%d}" in said for day in (before, now()))
    assert reasons_after_a_tick(worker, learning) == [AGAIN]
    fail(learning, ago=timedelta(0))
    assert (GIVEN_UP in next_job(learning, PROJECT).next_job) == is_given_up


def test_a_mask_that_came_after_the_clock_struck_waits_for_its_next_turn(learning):
    changed = changed_to(learning, fine_tune_after=0, fine_tune_schedule="0 0 1 1 *")
    worker = Worker(changed, threading.Event())
    this_year = now().replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    move_back(changed, SampleRow, stored_at=this_year - 30 * DAY)
    give_up(changed, ago=now() - this_year + DAY)
    assert "UTC, if a newer mask has come by then" in next_job(changed, PROJECT).next_job
    accept(changed.samples, 1, PROJECT)
    assert next_job(changed, PROJECT).next_job.endswith("UTC, if anything is new")
    assert reasons_after_a_tick(worker, changed) is None
    move_back(changed, SampleRow, stored_at=this_year - timedelta(minutes=1))
    assert reasons_after_a_tick(worker, changed) == ["scheduled (0 0 1 1 *)"]


def test_masks_that_are_new_since_begin_anew(learning, worker):
    give_up(learning)
    assert next_job(learning, PROJECT).next_job.endswith("the next job starts after 4 more")
    for disc in range(1, 5):
        accept(learning.samples, disc, PROJECT)
    assert (
        "New masks: 5; the next job starts within a minute" in next_job(learning, PROJECT).next_job
    )
    assert reasons_after_a_tick(worker, learning) == ["5 new samples"]
    fail(learning, ago=timedelta(0))
    assert "tried again" in next_job(learning, PROJECT).next_job
    move_back(learning, SampleRow, stored_at=now() - 30 * DAY)
    move_back(learning, JobRow, finished_at=now() - DAY)
    assert reasons_after_a_tick(worker, learning) == [AGAIN]


def test_masks_that_come_while_a_job_runs_that_fails_are_new(learning, worker):
    give_up(learning, ago=DAY)
    with learning.stores.database.write() as session:
        session.get(JobRow, 7).started_at = now() - 2 * DAY
    for disc in range(1, 5):
        accept(learning.samples, disc, PROJECT)
    move_back(learning, SampleRow, stored_at=now() - 1.5 * DAY)
    assert (
        "New masks: 5; the next job starts within a minute" in next_job(learning, PROJECT).next_job
    )
    assert reasons_after_a_tick(worker, learning) == ["5 new samples"]


@pytest.mark.parametrize("while_it_waits", [True, False])
def test_a_person_who_asks_begins_anew(learning, worker, while_it_waits):
    give_up(learning)
    if while_it_waits:
        learning.jobs.request(PROJECT, AGAIN)
    fail(learning, ago=DAY, reason="Start training")
    assert reasons_after_a_tick(worker, learning) == [AGAIN]


def test_whoever_cancels_the_next_try_ends_it(learning, worker):
    fail(learning, ago=HOUR, reason="Start training")
    assert next_job(learning, PROJECT).next_job.endswith("; to end that, cancel the next job")
    assert reasons_after_a_tick(worker, learning) == [AGAIN]
    learning.jobs.cancel(2)
    assert reasons_after_a_tick(worker, learning) is None


def test_where_there_is_a_schedule_what_was_cancelled_is_learned_at_its_next_time(learning):
    changed = changed_to(learning, fine_tune_schedule="* * * * *")
    worker = Worker(changed, threading.Event())
    fail(changed, ago=HOUR, reason="Start training")
    ends = "; to end that until the schedule's next time, cancel the next job"
    assert next_job(changed, PROJECT).next_job.endswith(ends)
    changed.jobs.cancel(changed.jobs.request(PROJECT, AGAIN))
    with changed.stores.database.write() as session:
        session.get(JobRow, 2).finished_at = now() - 2 * timedelta(minutes=1)
    assert reasons_after_a_tick(worker, changed) == ["scheduled (* * * * *)"]


def test_a_job_whose_process_cannot_be_started_says_why(learning, worker, settings):
    (settings.model_dir / "jobs").write_text("in the way of the folder")
    job = learning.jobs.request(PROJECT, "Start training")
    worker.train()
    row = learning.jobs.get(job)
    assert (row.state, row.attempts) == ("failed", 1)
    assert row.message.startswith("its process cannot be started: ")
    assert str(settings.model_dir / "jobs") in row.message
