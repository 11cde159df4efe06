"""What the page says about the next job is what the worker does."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from ml_backend.learning import next_job as next_job_module
from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.next_job import Prospect, ask_for_job, next_job
from ml_backend.learning.projects import ProjectNews
from ml_backend.learning.worker import Worker
from tests.ml_backend.learning.worker.disc_tasks import PROJECT, move_back
from tests.training.disc_project import accept
from training.moments import now
from training.store.sample_rows import SampleRow


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"fine_tune_after": 5, "fine_tune_quiet_minutes": 0.0})


@pytest.fixture
def after_a_tick(learning):
    """Let a worker with other settings look, say what is said then, and how many jobs there are."""
    learning.projects.remember(PROJECT, ProjectNews("Discs", "<View/>"))

    def tick(**settings):
        changed = replace(learning, settings=learning.settings.model_copy(update=settings))
        said = next_job(changed, PROJECT).next_job
        Worker(changed, threading.Event()).tick()
        return said, len(learning.jobs.of_project(PROJECT))

    return tick


def accept_discs(learning, number):
    for disc in range(number):
        accept(learning.samples, disc, PROJECT)


def test_too_few_masks_are_said_to_be_too_few(learning, after_a_tick):
    accept_discs(learning, 2)
    said, jobs = after_a_tick(fine_tune_quiet_minutes=10.0)
    assert said == "New masks: 2; the next job starts after 3 more"
    assert jobs == 0


def test_a_single_mask_that_is_enough_is_one_sample(learning, after_a_tick):
    accept_discs(learning, 1)
    after_a_tick(fine_tune_after=1)
    (job,) = learning.jobs.of_project(PROJECT)
    assert job.reasons == ["1 new sample"]


def test_enough_masks_wait_for_annotators_to_be_quiet(learning, after_a_tick):
    accept_discs(learning, 6)
    said, jobs = after_a_tick(fine_tune_quiet_minutes=10.0)
    assert said == "New masks: 6; the next job starts once nothing has been accepted for 10 min"
    assert jobs == 0
    move_back(learning, SampleRow, stored_at=now() - timedelta(minutes=10))
    said, jobs = after_a_tick(fine_tune_quiet_minutes=10.0)
    assert "starts within a minute" in said
    assert jobs == 1
    assert next_job(learning, PROJECT) == Prospect(None, None)


def test_a_job_that_began_knows_what_was_accepted_before(learning):
    accept_discs(learning, 6)
    learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("worker")
    assert next_job(learning, PROJECT) == Prospect(
        "New masks: 0; the next job starts after 5 more", new_samples=0
    )


def test_whoever_asks_again_while_a_job_runs_that_knows_all_asks_for_that(learning):
    accept_discs(learning, 2)
    first = ask_for_job(learning, PROJECT, "ann, on the page")
    learning.jobs.claim("worker")
    learning.inbox.put("START_TRAINING", PROJECT, b"{}")
    accept(learning.samples, 1, "3.1795327999")
    assert ask_for_job(learning, PROJECT, "bob, on the page") == first
    assert len(learning.jobs.of_project(PROJECT)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda learning: accept(learning.samples, 2, PROJECT),
        lambda learning: learning.samples.withdraw(PROJECT, [1]),
        lambda learning: learning.inbox.put("ANNOTATION_CREATED", PROJECT, b"{}"),
        lambda learning: learning.jobs.cancel(1),
        lambda learning: move_back(learning, JobRow, started_at=now() + timedelta(days=365)),
    ],
    ids=["accepted", "deleted", "about to be accepted", "cancelled", "began nobody knows when"],
)
def test_whoever_asks_while_a_job_runs_that_does_not_know_all_gets_another(learning, change):
    accept_discs(learning, 2)
    first = ask_for_job(learning, PROJECT, "ann, on the page")
    learning.jobs.claim("worker")
    change(learning)
    second = ask_for_job(learning, PROJECT, "bob, on the page")
    assert second != first
    assert ask_for_job(learning, PROJECT, "ann, on the page") == second
    assert learning.jobs.get(second).reasons == ["bob, on the page", "ann, on the page"]


def test_the_clock_and_people_start_jobs_too(learning, after_a_tick):
    accept_discs(learning, 6)
    said, jobs = after_a_tick(fine_tune_after=0)
    assert said == "New masks: 6; the next job starts when somebody asks for one"
    assert jobs == 0
    said, jobs = after_a_tick(fine_tune_after=7, fine_tune_schedule="30 2 1 1 *")
    assert "starts after 1 more or at " in said
    assert said.endswith("-01-01 02:30 UTC, if anything is new")
    assert jobs == 0


def test_what_a_cancelled_job_was_to_learn_is_said_to_wait_for_the_schedule(learning, after_a_tick):
    accept_discs(learning, 3)
    said, _ = after_a_tick(fine_tune_schedule="30 2 1 1 *")
    assert said.endswith("-01-01 02:30 UTC, if anything is new")
    learning.jobs.cancel(learning.jobs.request(PROJECT, "Start training"))
    said, _ = after_a_tick(fine_tune_schedule="30 2 1 1 *")
    assert said.startswith("New masks: 0; the next job starts after 5 more or at ")
    assert said.endswith("-01-01 02:30 UTC, with what job 1 was to learn")


def test_a_cancelled_job_that_had_nothing_to_learn_leaves_nothing(learning, after_a_tick):
    learning.jobs.cancel(learning.jobs.request(PROJECT, "Start training"))
    accept_discs(learning, 1)
    said, _ = after_a_tick(fine_tune_schedule="30 2 1 1 *")
    assert said.startswith("New masks: 1; ")
    assert said.endswith("-01-01 02:30 UTC, if anything is new")


def test_a_job_that_began_while_the_clock_was_ahead_hides_no_mask(learning, after_a_tick):
    learning.jobs.request(PROJECT, "Start training")
    learning.jobs.finish(learning.jobs.claim("worker").id, "worker", "not better", "", None)
    move_back(learning, JobRow, started_at=now() + timedelta(days=365))
    accept_discs(learning, 6)
    said, jobs = after_a_tick()
    assert said.startswith("New masks: 6; the next job starts within a minute")
    assert jobs == 2


def test_what_is_accepted_after_the_clock_was_set_back_stays_new_when_the_hour_has_passed(
    learning, after_a_tick, monkeypatch
):
    learning.jobs.request(PROJECT, "Start training")
    learning.jobs.finish(learning.jobs.claim("worker").id, "worker", "not better", "", None)
    move_back(learning, JobRow, started_at=now() + timedelta(hours=1))
    after_a_tick()
    accept_discs(learning, 3)
    monkeypatch.setattr(next_job_module, "latest_past", lambda: now() + timedelta(hours=2))
    assert next_job(learning, PROJECT) == Prospect(
        "New masks: 3; the next job starts after 2 more", new_samples=3
    )


def test_a_job_that_was_cancelled_while_the_clock_was_ahead_waits_for_the_schedule_once(
    learning, after_a_tick
):
    accept_discs(learning, 3)
    move_back(learning, SampleRow, stored_at=now() - timedelta(days=400))
    learning.jobs.cancel(learning.jobs.request(PROJECT, "Start training"))
    move_back(learning, JobRow, finished_at=now() + timedelta(days=365))
    _, jobs = after_a_tick(fine_tune_schedule="30 2 1 1 *")
    assert jobs == 2
