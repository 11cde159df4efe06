"""*Start training* in Label Studio comes as a message, and the job starts at once."""

import json
import logging
import sys
import threading

import pytest

from ml_backend.learning import worker
from ml_backend.learning.fine_tune_jobs import LEASE, JobRow
from ml_backend.learning.work_queue import declare_tasks, open_queue
from ml_backend.learning.worker import Worker
from tests.ml_backend.learning.worker.disc_tasks import (
    PROJECT,
    deliver,
    move_back,
    tasks_with_samples,
)
from tests.waiting import wait_until
from training.moments import now


@pytest.fixture
def stopping():
    return threading.Event()


@pytest.fixture
def hint(learning, settings, stopping):
    """Hint that a message came, and let a thread of the worker take the hint."""
    queue = open_queue(settings)
    tasks = declare_tasks(queue, Worker(learning, stopping))

    def hint():
        tasks.ingest()
        queue.execute(queue.dequeue())

    yield hint
    queue.storage.close()


def start_training(learning):
    body = {"action": "START_TRAINING", "project": {"id": 1, "label_config": "<View/>"}}
    learning.inbox.put("START_TRAINING", PROJECT, json.dumps(body).encode())


def states(learning):
    return [job.state for job in reversed(learning.jobs.of_project(PROJECT))]


def test_a_job_that_a_message_asks_for_starts_without_a_tick(learning, settings, hint):
    (settings.model_dir / "jobs").write_text("in the way of the folder, so that no job runs long")
    start_training(learning)
    hint()
    assert states(learning) == ["failed"]


def test_a_worker_whose_hint_another_one_took_finds_the_job_by_itself(
    learning, settings, stopping, monkeypatch
):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    (settings.model_dir / "jobs").write_text("in the way of the folder, so that no job runs long")
    idle = threading.Thread(target=Worker(learning, stopping).look_for_jobs)
    idle.start()
    try:
        for tried in (["failed"], ["failed", "failed"]):
            learning.jobs.request(PROJECT, "Start training")
            wait_until(lambda tried=tried: states(learning) == tried)
    finally:
        stopping.set()
        idle.join()


def test_a_job_whose_worker_died_is_found_without_a_tick(learning, settings, stopping, monkeypatch):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    (settings.model_dir / "jobs").write_text("in the way of the folder, so that no job runs long")
    learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("dead")
    move_back(learning, JobRow, beat_at=now() - 2 * LEASE)
    idle = threading.Thread(target=Worker(learning, stopping).look_for_jobs)
    idle.start()
    try:
        wait_until(lambda: states(learning) == ["failed"])
    finally:
        stopping.set()
        idle.join()


def test_a_job_of_a_dead_worker_that_another_takes_up_at_once_is_announced_by_that_one(
    learning, stopping, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("dead")
    move_back(learning, JobRow, beat_at=now() - 2 * LEASE)
    recover = learning.jobs.recover

    def recover_and_lose(**alive):
        found = recover(**alive)
        assert learning.jobs.claim("another").id in found
        return found

    monkeypatch.setattr(learning.jobs, "recover", recover_and_lose)
    Worker(learning, stopping).tick()
    assert states(learning) == ["running"]
    assert [message for message in caplog.messages if message.startswith("job=")] == []


def test_messages_that_come_while_a_job_runs_neither_wait_for_it_nor_start_another(
    learning, server, tmp_path, monkeypatch, stopping, hint
):
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nexec sleep 600\n")
    endless.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(endless))
    start_training(learning)
    first = threading.Thread(target=hint)
    first.start()
    try:
        wait_until(lambda: states(learning) == ["running"])
        start_training(learning)
        hint()
        assert states(learning) == ["running"], "it knows all that there is"
        deliver(learning, server, 1)
        start_training(learning)
        hint()
        assert first.is_alive()
        assert tasks_with_samples(learning) == [1]
        assert states(learning) == ["running", "waiting"]
    finally:
        stopping.set()
        first.join()
    assert states(learning) == ["waiting", "waiting"]
