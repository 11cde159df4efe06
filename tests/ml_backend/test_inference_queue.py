"""Work runs one after the other, in order, and nobody waits beyond a deadline."""

import threading

import pytest

from ml_backend.errors import DeadlineError
from ml_backend.inference_queue import Deadline, InferenceQueue


def test_result_and_exception_come_back():
    queue = InferenceQueue()
    assert queue.run(lambda: 7, Deadline(10)) == 7
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 / 0, Deadline(10))
    assert queue.depth == 0


def test_only_one_thread_works():
    queue = InferenceQueue()
    names = {queue.run(lambda: threading.current_thread().name, Deadline(10)) for _ in range(5)}
    assert len(names) == 1
    assert names != {threading.current_thread().name}


def test_late_work_is_given_up_and_what_waits_behind_it_never_begins():
    queue = InferenceQueue()
    release, began = threading.Event(), threading.Event()
    blocker = threading.Thread(target=queue.run, args=(release.wait, Deadline(30)))
    blocker.start()
    with pytest.raises(DeadlineError, match="no answer within"):
        queue.run(began.set, Deadline(0.05))
    assert queue.depth == 1
    release.set()
    blocker.join()
    assert queue.run(began.is_set, Deadline(10)) is False


def test_passed_deadline_is_noticed_before_queueing():
    deadline = Deadline(1e-9)
    with pytest.raises(DeadlineError):
        InferenceQueue().run(lambda: None, deadline)
    assert deadline.remaining() == 0.0
