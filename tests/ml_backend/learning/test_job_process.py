"""Processes of jobs that stop when they are to, and others; each is a real one."""

import subprocess
import sys
import threading
from functools import partial

import pytest

from ml_backend.learning import job_process
from ml_backend.learning.fine_tune_jobs import FineTuneJobs
from ml_backend.learning.job_process import how_it_ended, wait_for
from tests.waiting import PATIENCE
from training.errors import DatabaseError
from training.store.database import Database

PROJECT = "2.1795327560"
WORKER = "worker"
HANGS = """
import signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print("hangs", flush=True)
time.sleep(600)
"""
TAKES_A_WHILE = "import time; print('works', flush=True); time.sleep(2)"


@pytest.fixture
def jobs(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    yield FineTuneJobs(database)
    database.close()


@pytest.fixture
def job(jobs):
    """The number of a job that runs."""
    jobs.request(PROJECT, "Start training")
    return jobs.claim(WORKER).id


@pytest.fixture
def start():
    started = []

    def start(program):
        started.append(subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_cancelled_job_that_hangs_is_ended(jobs, job, start):
    process = start(HANGS)
    jobs.cancel(job)
    keep_claim = partial(jobs.keep_claim, job, WORKER)
    wait_for(process, keep_claim, threading.Event(), cancel_seconds=0.1, stop_seconds=0.1)
    assert process.returncode < 0
    jobs.recover(WORKER)
    assert jobs.get(job).state == "cancelled"


def test_what_ended_a_process_is_said(start):
    endings = [start("print(flush=True); import os; os.kill(os.getpid(), 9)")]
    endings += [start("print(flush=True); import os; os.kill(os.getpid(), 15)")]
    endings += [start(f"print(flush=True); raise SystemExit({status})") for status in (3, 0)]
    assert [how_it_ended(process.wait(PATIENCE)) for process in endings] == [
        "was ended by SIGKILL, as the system does where memory is short",
        "was ended by SIGTERM",
        "ended with status 3",
        "",
    ]


@pytest.mark.parametrize(
    ("is_cancelled", "cancel_seconds"),
    [
        pytest.param(False, 0.0, id="one that nobody cancelled"),
        pytest.param(True, 600.0, id="one that may still stop by itself"),
    ],
)
def test_other_jobs_are_waited_for(jobs, job, start, is_cancelled, cancel_seconds):
    process = start(TAKES_A_WHILE)
    if is_cancelled:
        jobs.cancel(job)
    keep_claim = partial(jobs.keep_claim, job, WORKER)
    wait_for(process, keep_claim, threading.Event(), cancel_seconds)
    assert process.returncode == 0


def test_an_outage_of_the_database_is_said_once_and_so_is_its_end(start, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(job_process, "_LOOK_SECONDS", 0.01)
    process, asked = start(HANGS), []

    def keep_claim():
        asked.append(1)
        if len(asked) <= 4:
            raise DatabaseError("the database is away")
        if len(asked) == 6:
            process.kill()
        return False

    wait_for(process, keep_claim, threading.Event())
    assert [record.getMessage() for record in caplog.records] == [
        "the claim could not be renewed: the database is away",
        "the claim is renewed again",
    ]


def test_a_job_that_hangs_does_not_keep_its_worker_from_ending(jobs, job, start):
    process, stopping = start(HANGS), threading.Event()
    stopping.set()
    wait_for(process, partial(jobs.keep_claim, job, WORKER), stopping, stop_seconds=0.1)
    assert process.returncode < 0
