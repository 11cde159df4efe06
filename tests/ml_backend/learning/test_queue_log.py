"""What the worker's log says while the queue is away; the queue is huey's own, on a dead port."""

import logging

import pytest

from ml_backend.learning.queue_log import QueueAway, shorten_queue_log
from ml_backend.learning.work_queue import NoDuties, declare_tasks, open_queue
from ml_backend.settings import Settings
from tests.waiting import wait_until

HUEY = [logging.getLogger(f"huey.consumer.{part}") for part in ("Worker", "Scheduler")]


@pytest.fixture
def shortened():
    shorten_queue_log()
    yield
    for logger in HUEY:
        for one in [one for one in logger.filters if isinstance(one, QueueAway)]:
            logger.removeFilter(one)


def test_a_queue_that_is_away_is_one_line(shortened, tmp_path, caplog, monkeypatch):
    queue = open_queue(Settings(model_dir=tmp_path, queue_url="redis://127.0.0.1:1/0"))
    declare_tasks(queue, NoDuties())
    attempts, dequeue = [], queue.dequeue
    monkeypatch.setattr(queue, "dequeue", lambda: (attempts.append(1), dequeue())[1])
    consumer = queue.create_consumer(workers=2, worker_type="thread", max_delay=0.05)
    consumer.start()
    wait_until(lambda: len(attempts) >= 5)
    consumer.stop(graceful=True)
    of_huey = [one for one in caplog.records if one.name.startswith("huey")]
    (record,) = (one for one in of_huey if one.levelno >= logging.WARNING)
    assert "the queue cannot be reached (" in record.getMessage()
    assert "127.0.0.1:1" in record.getMessage()
    assert not record.exc_info


def test_a_task_that_fails_keeps_its_trace():
    try:
        raise KeyError("x")
    except KeyError as error:
        trace = (KeyError, error, error.__traceback__)
    record = logging.LogRecord(
        "huey.consumer.Worker", logging.ERROR, "", 0, "Unhandled error during %s", ("t",), trace
    )
    assert QueueAway().filter(record)
    assert record.exc_info is trace
