"""The worker as a real process: it is started, killed, started again; nothing is lost."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import select

from ml_backend.__main__ import main
from ml_backend.learning.fine_tune_jobs import LEASE, MOST_ATTEMPTS, JobRow
from ml_backend.learning.projects import ProjectNews
from ml_backend.learning.work_queue import NoDuties, declare_tasks, open_queue
from tests.ml_backend.learning.worker.disc_tasks import (
    PROJECT,
    deliver,
    move_back,
    tasks_with_samples,
)
from tests.waiting import PATIENCE, wait_until
from training.moments import now
from training.store.live_pointer import SITE
from training.store.sample_rows import AnnotationRow

ROOT = Path(__file__).parents[4]


@contextlib.contextmanager
def working(environment):
    """The worker as people start it."""
    log = Path(environment["ICMFORMER_MODEL_DIR"]).parent / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml_backend", "work"],
            cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def stages(learning, job):
    row = learning.jobs.get(job)
    return row.state, row.stage


@pytest.mark.slow
def test_killed_at_every_stage_the_next_worker_ends_it(
    environment, settings, learning, server, monkeypatch
):
    """kill -9 while ingesting, judging, training and deciding; each time another worker goes on."""
    is_killed, file = threading.Event(), server._file

    def last_one_late(name):
        assert not name.endswith("-23.png") or is_killed.wait(PATIENCE)
        return file(name)

    monkeypatch.setattr(server, "_file", last_one_late)
    with working(environment) as process:
        deliver(learning, server, *range(24))
        wait_until(lambda: tasks_with_samples(learning), process=process)
        process.kill()
    is_killed.set()
    assert len(tasks_with_samples(learning)) < 24
    with working(environment) as process:
        wait_until(lambda: len(tasks_with_samples(learning)) == 24, process=process)
        with learning.stores.database.read() as session:
            rows = session.scalars(select(AnnotationRow)).all()
        assert {row.status for row in rows} == {"accepted"}
        job = learning.jobs.request(PROJECT, "Start training")
        declare_tasks(open_queue(settings), NoDuties()).train()
        judging = ("running", "judging the live version")
        wait_until(lambda: stages(learning, job) == judging, process=process)
        process.kill()
    for stage in ("training", "judging the candidate"):
        with working(environment) as process:
            wait_until(
                lambda stage=stage: stages(learning, job) == ("running", stage), process=process
            )
            process.kill()
    with working(environment) as process:
        wait_until(lambda: learning.jobs.get(job).state == "finished", process=process)
    row = learning.jobs.get(job)
    assert row.result in ("not better", "asked", "promoted")
    assert row.version == 2
    assert len(learning.stores.versions.usable_by(PROJECT)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_stop_it_gives_the_job_back_at_once(environment, settings, learning, server, told):
    deliver(learning, server, *range(12))
    with working(environment) as process:
        wait_until(lambda: len(tasks_with_samples(learning)) == 12, process=process)
        learning.jobs.request(PROJECT, "Start training")
        declare_tasks(open_queue(settings), NoDuties()).train()
        wait_until(lambda: stages(learning, 1)[0] == "running", process=process)
        process.send_signal(told)
        assert process.wait(PATIENCE) == 0
    row = learning.jobs.get(1)
    assert (row.state, row.attempts) == ("waiting", 0)


def gives_way(worker):
    """Say whether the worker's job has the lowest priority, in a session of its own."""
    found = subprocess.run(
        ["pgrep", "-P", str(worker.pid), "-f", "run-job"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    jobs = [int(number) for number in found.stdout.split()]
    return any((os.getpriority(os.PRIO_PROCESS, job), os.getsid(job)) == (19, job) for job in jobs)


@pytest.mark.slow
def test_a_running_job_gives_way_and_can_be_cancelled(environment, settings, learning, server):
    deliver(learning, server, *range(12))
    with working(environment) as process:
        wait_until(lambda: len(tasks_with_samples(learning)) == 12, process=process)
        job = learning.jobs.request(PROJECT, "Start training")
        declare_tasks(open_queue(settings), NoDuties()).train()
        wait_until(lambda: stages(learning, job)[0] == "running", process=process)
        wait_until(lambda: gives_way(process), process=process)
        learning.jobs.cancel(job)
        wait_until(lambda: learning.jobs.get(job).state == "cancelled", process=process)
    assert learning.stores.versions.live(PROJECT).version == 1


def command(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "ml_backend", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def here(environment, monkeypatch, capsys):
    """Run a command in this process, which has loaded what takes a new one seconds."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ml_backend", *arguments])
        capsys.readouterr()
        return main(), *capsys.readouterr()

    return run


@pytest.mark.slow
def test_the_commands_do_what_they_say(environment, here, learning, worker, server):
    deliver(learning, server, *range(11))  # of which one is held out, to be clicked
    worker.ingest()
    trained = command(environment, "fine-tune", "--project", "1")
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith("job 1: ")
    assert "step 12" in (learning.job_folders.make(learning.jobs.get(1)) / "log.txt").read_text()
    _, listed, _ = here("versions", "--project", "1")
    number, name, *made_for = listed.split()[:4]
    assert (number, name[:3], made_for) == ("2", "v2-", ["project", "1"])
    assert "live for project 1: " in listed
    _, promoted, _ = here("promote", "2", "--project", "1", "--reason", "I looked")
    assert promoted.startswith("live for project 1: v2-")
    assert "(pinned)" in here("pin", "--project", "1")[1]
    assert "(pinned)" not in here("unpin", "--project", "1")[1]
    assert "(of the site)" in here("rollback", "--project", "1")[1]
    assert here("rollback", "--project", "1")[0] == 1
    assert "24 annotations" in here("reconcile")[1]
    unknown = here("fine-tune", "--project", "77")
    assert unknown == (1, "", "project 77 has never been seen here\n")
    moves = learning.stores.versions.history(PROJECT)
    assert [move.move for move in moves] == ["promote", "pin", "unpin", "rollback"]
    assert moves[0].reason == "I looked"


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_job_in_the_foreground_says_how_far_it_is_and_who_continues_it(
    environment, learning, worker, server, told
):
    deliver(learning, server, *range(12))
    worker.ingest()
    started = subprocess.Popen(
        [sys.executable, "-m", "ml_backend", "fine-tune", "--project", "1"],
        cwd=ROOT, env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert any("job 1: judging the live version, 0 of " in line for line in started.stderr)
    started.send_signal(told)
    said, log = started.communicate(timeout=PATIENCE)
    assert (started.returncode, said) == (130, "")
    sentence = "job 1: stopped; the worker, or this command, will continue it"
    assert log.splitlines()[-1] == sentence
    row = learning.jobs.get(1)
    assert (row.state, row.attempts) == ("waiting", 0)


@pytest.mark.slow
def test_the_workers_log_says_which_job_runs_and_how_it_ended(
    environment, learning, worker, caplog, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    caplog.set_level("INFO", "ml_backend.learning.worker")
    learning.projects.remember(PROJECT, ProjectNews("Discs"))
    learning.jobs.request(PROJECT, "Start training")
    worker.train()
    assert caplog.messages == [
        f"job=1 project={PROJECT} running: Start training",
        f"job=1 project={PROJECT} finished: unchanged, no accepted mask is on an image that may be "
        "trained on",
    ]


def test_a_job_that_a_dead_worker_left_is_in_the_log_of_the_next(learning, worker, caplog):
    caplog.set_level("INFO", "ml_backend.learning.worker")
    for attempt in range(MOST_ATTEMPTS):
        learning.jobs.request(PROJECT, "Start training")
        learning.jobs.claim(f"worker {attempt}")
        move_back(learning, JobRow, beat_at=now() - 2 * LEASE)
        worker.tick()
    start = f"job=1 project={PROJECT}"
    assert caplog.messages[:2] == [f"{start} waiting: to be continued"] * 2
    assert caplog.messages[2].startswith(f"{start} failed: it was cut off 3 times")
    assert "What job 1 was to learn is tried again after" in caplog.messages[3]
    assert [record.levelname for record in caplog.records] == ["INFO"] * 2 + ["WARNING"] * 2


def test_a_job_whose_process_the_system_ends_says_so(learning, worker, caplog, monkeypatch):
    def start(job, name):
        return subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])

    monkeypatch.setattr(worker, "_start", start)
    learning.projects.remember(PROJECT, ProjectNews("Discs"))
    learning.jobs.request(PROJECT, "Start training")
    worker.train()
    how = "its process was ended by SIGKILL, as the system does where memory is short"
    assert [one for one in caplog.messages if how in one][:3] == [f"job=1: {how}"] * 3
    assert learning.jobs.get(1).message == (
        "it was cut off 3 times before it got any further, the last time while starting (0 of "
        f"0): {how}; see the log"
    )


@pytest.mark.slow
def test_a_job_in_the_foreground_continues_one_whose_worker_died(environment, learning):
    learning.projects.remember(PROJECT, ProjectNews("Discs"))
    learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("of a machine that lost its power")
    move_back(learning, JobRow, beat_at=now() - 2 * LEASE)
    ended = command(environment, "fine-tune", "--project", "1")
    assert ended.stdout.startswith("job 1: unchanged: no accepted mask"), ended.stderr
    assert learning.jobs.get(1).reasons == ["Start training", "command"]


@pytest.mark.usefixtures("learning")
def test_a_comparison_of_no_project_says_so(here):
    assert here("reconcile")[:2] == (0, "no project has connected yet\n")


def test_a_user_without_a_name_may_move_a_pointer(here, learning, monkeypatch):
    """Containers often run as a number that no file knows."""
    monkeypatch.setattr("getpass.getuser", Mock(side_effect=KeyError("uid not found")))
    assert here("pin")[0] == 0
    assert learning.stores.versions.history(SITE)[-1].by == f"uid {os.getuid()}"


def test_a_comparison_that_fails_ends_its_command_with_1(here, learning, worker, server):
    deliver(learning, server, 1)
    worker.ingest()
    assert here("reconcile")[0] == 0
    server.legacy_tokens_enabled = False
    status, said, _ = here("reconcile")
    assert (status, "not compared: Label Studio" in said) == (1, True)
