"""What a job's own process writes, at the lowest priority, never keeps others waiting.

On SQLite and, where TEST_POSTGRESQL names one, on PostgreSQL.
"""

import sys
import threading

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from ml_backend.errors import JobError
from ml_backend.learning.fine_tune_jobs import Beat, FineTuneJobs, JobRow
from tests.training.empty_databases import DATABASES, empty_database
from tests.waiting import wait_until
from training.store.database import _WRITE_LOCK

PROJECT = "2.1795327560"
HOW = {
    "beats": lambda jobs, job: jobs.beat(job, "w", Beat("training", 30, 300, 120.0, True)),
    "finishes": lambda jobs, job: jobs.finish(job, "w", "not better", "no better", 2),
}


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    with empty_database(request.param, tmp_path) as database:
        yield database


@pytest.fixture
def jobs(database):
    return FineTuneJobs(database)


@pytest.fixture
def others_can_write(database):
    """Say whether another process gets the write lock now, without anything done here."""
    url = database._engine.url
    is_sqlite = url.get_backend_name() == "sqlite"
    # What PostgreSQL does by itself takes it a moment.
    wait = {"timeout": 0} if is_sqlite else {"options": "-clock_timeout=1s"}
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args=wait)
    take, give_back = (
        ("BEGIN IMMEDIATE", "ROLLBACK")
        if is_sqlite
        else (f"SELECT pg_advisory_lock({_WRITE_LOCK})", "SELECT pg_advisory_unlock_all()")
    )
    with engine.connect() as other:

        def succeeds():
            try:
                other.exec_driver_sql(take)
            except OperationalError:
                return False
            other.exec_driver_sql(give_back)
            return True

        yield succeeds
    engine.dispose()


@pytest.mark.parametrize("how", HOW)
def test_no_code_of_ours_runs_while_a_job_holds_the_write_lock(jobs, others_can_write, how):
    job = jobs.request(PROJECT, "button")
    jobs.claim("w")
    waits = []

    def look(*_):
        if not waits and not others_can_write():
            waits.append(sys._getframe(1).f_code)

    sys.setprofile(look)
    try:
        HOW[how](jobs, job)
    finally:
        sys.setprofile(None)
    assert waits == []


def test_a_job_that_others_are_giving_back_does_not_end_meanwhile(database, jobs):
    job = jobs.request(PROJECT, "button")
    jobs.claim("w")
    refused = []

    def finish():
        try:
            jobs.finish(job, "w", "promoted", "fewer clicks", 2)
        except JobError as error:
            refused.append(str(error))

    finishing = threading.Thread(target=finish)
    with database.write() as session:
        row = session.get(JobRow, job)
        finishing.start()
        if database._engine.dialect.name == "postgresql":
            waits = text(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
            wait_until(lambda: session.scalar(waits) or not finishing.is_alive())
        row.state = "waiting"
    finishing.join()
    assert refused == [f"job {job} is no longer this worker's"]
    assert jobs.get(job).state == "waiting"
