import threading
from datetime import timedelta

import pytest
from sqlalchemy import update

from ml_backend.errors import JobError
from ml_backend.learning import fine_tune_jobs
from ml_backend.learning.fine_tune_jobs import LEASE, MOST_ATTEMPTS, Beat, FineTuneJobs, JobRow
from training.moments import now
from training.store.database import Database

A, B = "2.1795327560", "3.1795327999"


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    yield database
    database.close()


@pytest.fixture
def jobs(database):
    return FineTuneJobs(database)


def let_workers_fall_silent(database):
    with database.write() as session:
        session.execute(update(JobRow).values(beat_at=now() - 2 * LEASE))


def test_repeated_requests_become_one_job_with_all_reasons(jobs):
    first = jobs.request(A, "20 new samples")
    assert jobs.request(A, "Start training") == jobs.request(A, "Start training") == first
    assert jobs.get(first).reasons == ["20 new samples", "Start training"]
    assert jobs.request(B, "Start training") != first


def test_a_job_that_waits_long_keeps_its_first_reasons_alone(jobs):
    for number in range(13):
        job = jobs.request(A, f"asked for the {number}th time")
    first = [f"asked for the {number}th time" for number in range(10)]
    assert jobs.get(job).reasons == [*first, "and others"]


def test_one_job_a_project_runs_at_a_time_and_one_more_waits(jobs):
    first = jobs.request(A, "button")
    assert jobs.claim("w1").id == first
    second, third = jobs.request(A, "button"), jobs.request(A, "schedule")
    assert second == third != first
    assert jobs.claim("w2") is None
    other = jobs.request(B, "button")
    assert jobs.claim("w2").id == other
    jobs.finish(first, "w1", "not better", "no better", 2)
    assert jobs.claim("w1").id == second


def test_a_certain_job_can_be_claimed(jobs):
    first, second = jobs.request(A, "button"), jobs.request(B, "button")
    assert jobs.claim("w", second).id == second
    assert jobs.claim("w", second) is None
    assert jobs.claim("w").id == first


def test_many_workers_claim_a_job_once(jobs):
    jobs.request(A, "button")
    claimed = []
    threads = [
        threading.Thread(target=lambda n=n: claimed.append(jobs.claim(f"w{n}"))) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([row for row in claimed if row is not None]) == 1


def test_a_running_job_says_how_far_it_is(jobs):
    job = jobs.request(A, "button")
    jobs.claim("w")
    jobs.beat(job, "w", Beat("training", 30, 300, 120.0))
    row = jobs.get(job)
    assert (row.stage, row.done, row.total, row.seconds_left) == ("training", 30, 300, 120.0)
    jobs.finish(job, "w", "promoted", "fewer clicks", 7)
    row = jobs.get(job)
    assert (row.state, row.result, row.version) == ("finished", "promoted", 7)
    assert row.finished_at >= row.started_at >= row.requested_at


def test_the_job_of_a_dead_worker_is_continued_by_the_next(jobs, database):
    job = jobs.request(A, "button")
    jobs.claim("w1")
    assert jobs.recover() == []
    let_workers_fall_silent(database)
    assert jobs.recover() == [job]
    assert jobs.claim("w2").id == job
    with pytest.raises(JobError, match="no longer this worker's"):
        jobs.beat(job, "w1", Beat("training", 1, 2, None))
    with pytest.raises(JobError):
        jobs.finish(job, "w1", "promoted", "", 7)
    jobs.beat(job, "w2", Beat("training", 1, 2, None))


def test_a_job_whose_process_takes_long_to_start_is_not_taken_for_dead(jobs, database):
    job = jobs.request(A, "button")
    jobs.claim("w1")
    let_workers_fall_silent(database)
    jobs.keep_claim(job, "w2")
    assert jobs.recover(alive="w1") == []
    jobs.keep_claim(job, "w1")
    assert jobs.recover() == []
    assert jobs.get(job).state == "running"


def test_a_job_that_was_claimed_while_the_clock_was_ahead_is_continued(jobs, monkeypatch):
    job = jobs.request("2.1", "asked")
    with monkeypatch.context() as patch:
        patch.setattr(fine_tune_jobs, "now", lambda: now() + timedelta(days=30))
        jobs.claim("before the clock was set back")
    assert jobs.recover() == [job]
    assert jobs.claim("next").id == job


def test_a_worker_that_is_known_to_be_dead_need_not_be_waited_for(jobs):
    jobs.request(A, "button")
    other = jobs.request(B, "button")
    jobs.claim("w1")
    jobs.claim("w2")
    assert jobs.recover("w2") == [other]


def test_a_job_whose_workers_keep_dying_fails_and_says_where(jobs, database):
    job = jobs.request(A, "button")
    for attempt in range(MOST_ATTEMPTS):
        jobs.claim(f"w{attempt}")
        jobs.beat(job, f"w{attempt}", Beat("training", 30, 300, None))
        let_workers_fall_silent(database)
        jobs.recover()
    row = jobs.get(job)
    assert row.state == "failed"
    assert row.message == (
        "it was cut off 3 times before it got any further, the last time while training (30 of "
        "300): its worker died; see the log"
    )
    assert jobs.claim("w") is None


def test_a_job_that_gets_further_each_time_is_continued_however_often_it_is_killed(jobs, database):
    job = jobs.request(A, "button")

    def attempt(got_further):
        worker = f"w{jobs.claim('w').attempts}"
        with database.write() as session:
            session.execute(update(JobRow).values(worker=worker))
        jobs.beat(job, worker, Beat("training", 30, 300, None, got_further))
        let_workers_fall_silent(database)
        jobs.recover()
        return jobs.get(job).state

    assert {attempt(got_further=True) for _ in range(2 * MOST_ATTEMPTS)} == {"waiting"}
    assert [attempt(got_further=False) for _ in range(2)] == ["waiting", "failed"]


def test_stopping_the_worker_in_good_order_costs_no_attempt(jobs):
    job = jobs.request(A, "button")
    for _ in range(2 * MOST_ATTEMPTS):
        jobs.claim("w")
        jobs.release(job, "w")
    assert (jobs.get(job).state, jobs.get(job).attempts) == ("waiting", 0)


def test_a_waiting_job_is_cancelled_at_once(jobs):
    job = jobs.request(A, "button")
    jobs.cancel(job)
    assert jobs.get(job).state == "cancelled"
    assert jobs.claim("w") is None
    with pytest.raises(JobError, match="not waiting or running"):
        jobs.cancel(job)


@pytest.mark.parametrize("ending", ["it stops by itself", "it dies", "it is asked to stop"])
def test_a_running_job_is_cancelled_however_it_ends(jobs, database, ending):
    job = jobs.request(A, "button")
    jobs.claim("w")
    jobs.cancel(job)
    assert jobs.get(job).state == "running"
    with pytest.raises(JobError, match="was cancelled"):
        jobs.beat(job, "w", Beat("training", 1, 2, None))
    if ending == "it stops by itself":
        jobs.fail(job, "w", "stopped")
    elif ending == "it dies":
        let_workers_fall_silent(database)
        jobs.recover()
    else:
        jobs.release(job, "w")
    assert jobs.get(job).state == "cancelled"


def test_jobs_are_listed_newest_first(jobs):
    first = jobs.request(A, "button")
    jobs.cancel(first)
    second = jobs.request(A, "button")
    assert [row.id for row in jobs.of_project(A)] == [second, first]
    with pytest.raises(JobError, match="no job 99"):
        jobs.get(99)


def end(jobs, outcome):
    job = jobs.request(A, "button")
    if outcome == "cancelled":
        jobs.cancel(job)
        return job
    jobs.claim("w")
    if outcome == "failed":
        jobs.fail(job, "w", "No space left on device")
    else:
        jobs.finish(job, "w", "not better", "no better", 2)
    return job


@pytest.mark.parametrize("outcome", ["failed", "finished"])
def test_a_job_that_failed_while_the_clock_was_ahead_is_followed_all_the_same(
    jobs, monkeypatch, outcome
):
    with monkeypatch.context() as patch:
        patch.setattr(fine_tune_jobs, "now", lambda: now() + timedelta(days=5))
        first = end(jobs, "failed")
    assert [job.id for job in jobs.failed_last()] == [first]
    next_one = end(jobs, outcome)
    assert [job.id for job in jobs.failed_last()] == ([next_one] if outcome == "failed" else [])


def test_a_job_that_waits_follows_one_with_a_higher_number(jobs):
    first = jobs.request(A, "button")
    jobs.claim("w")
    second = jobs.request(A, "button")
    jobs.release(first, "w")
    jobs.claim("script", second)
    jobs.fail(second, "script", "No space left on device")
    assert jobs.failed_last() == []
    jobs.cancel(first)
    assert [job.id for job in jobs.failed_last()] == [second]


def test_of_many_jobs_the_last_of_each_project_is_found(jobs):
    for outcome in ("failed", "cancelled", "failed", "finished", "failed", "failed"):
        last = end(jobs, outcome)
    jobs.request(B, "button")
    jobs.fail(jobs.claim("w").id, "w", "No space left on device")
    assert [job.id for job in jobs.failed_last()] == [last, last + 1]
    end(jobs, "cancelled")
    assert [job.project for job in jobs.failed_last()] == [B]


@pytest.mark.parametrize(("leases", "is_silent"), [(1.5, False), (2.1, True), (-2.1, True)])
def test_a_worker_that_missed_one_lease_is_not_said_to_be_silent(leases, is_silent):
    assert JobRow(state="running", beat_at=now() - leases * LEASE).is_silent == is_silent
