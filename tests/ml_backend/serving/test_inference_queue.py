"""Work runs one after the other, in order, and nobody waits beyond a deadline."""

import os
import signal
import sys
import threading

import numpy as np
import pytest
import torch

from ml_backend.deadline import Deadline
from ml_backend.errors import DeadlineError, DeviceError, DeviceMemoryError
from ml_backend.serving import inference_queue
from ml_backend.serving.inference_queue import InferenceQueue
from tests.waiting import PATIENCE, wait_until


def one_thread():
    return 1


def queue_without_relief(threads=one_thread):
    return InferenceQueue(lambda: None, threads)


def test_result_and_exception_come_back():
    queue = queue_without_relief()
    assert queue.run(lambda: 7, Deadline(PATIENCE)) == 7
    with pytest.raises(ZeroDivisionError):
        queue.run(lambda: 1 / 0, Deadline(PATIENCE))
    assert queue.depth == 0


def test_only_one_thread_works():
    queue = queue_without_relief()
    names = {
        queue.run(lambda: threading.current_thread().name, Deadline(PATIENCE)) for _ in range(5)
    }
    assert len(names) == 1
    assert names != {threading.current_thread().name}


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_threads_that_compute_let_those_go_first_that_answer():
    def computing():
        before = set(os.listdir("/proc/self/task"))
        product = torch.ones(512, 512) @ torch.ones(512, 512)
        assert product[0, 0] == 512
        return {threading.get_native_id(), *map(int, set(os.listdir("/proc/self/task")) - before)}

    computed = queue_without_relief(threads=lambda: 2).run(computing, Deadline(PATIENCE))
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    priorities = {os.getpriority(os.PRIO_PROCESS, thread) for thread in computed}
    assert priorities == {min(ours + 5, 19)}


def test_each_piece_of_work_takes_as_many_threads_as_there_are_cores_for_it():
    free = [2, 1, 1, 2]
    queue = queue_without_relief(threads=lambda: free.pop(0))
    taken = [queue.run(torch.get_num_threads, Deadline(PATIENCE)) for _ in range(4)]
    assert taken == [2, 1, 1, 2]


def test_late_work_is_given_up_and_what_waits_behind_it_never_begins():
    queue = queue_without_relief()
    release, began = threading.Event(), threading.Event()
    blocker = threading.Thread(target=queue.run, args=(release.wait, Deadline(PATIENCE)))
    blocker.start()
    wait_until(lambda: queue.depth == 1)
    with pytest.raises(DeadlineError, match="no answer within"):
        queue.run(began.set, Deadline(0.05))
    assert queue.depth == 1
    release.set()
    blocker.join()
    assert queue.run(began.is_set, Deadline(PATIENCE)) is False


def test_passed_deadline_is_noticed_before_queueing():
    deadline = Deadline(1e-9)
    with pytest.raises(DeadlineError):
        queue_without_relief().run(lambda: None, deadline)
    assert deadline.remaining() == 0.0


class Greedy:
    """Work that fits into memory only after some attempts."""

    def __init__(self, failures):
        self.failures = failures
        self.relieved = 0

    def work(self):
        if self.failures:
            self.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB …")
        return "mask"

    def relieve(self):
        self.relieved += 1


def test_memory_that_can_be_spared_is_given_back_before_giving_up():
    greedy = Greedy(failures=1)
    assert InferenceQueue(greedy.relieve, one_thread).run(greedy.work, Deadline(PATIENCE)) == "mask"
    assert greedy.relieved == 1


def test_memory_that_does_not_suffice_is_a_sentence():
    greedy = Greedy(failures=2)
    queue = InferenceQueue(greedy.relieve, one_thread)
    with pytest.raises(DeviceMemoryError, match="ICMFORMER_MODEL_MEMORY_MB"):
        queue.run(greedy.work, Deadline(PATIENCE))
    assert queue.run(greedy.work, Deadline(PATIENCE)) == "mask"


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors …"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
    ids=["context", "cuBLAS", "cuDNN"],
)
def test_memory_outside_of_torchs_own_is_memory_too(error, monkeypatch):
    """Torch frees what it keeps for itself when it lacks memory, but not when a library does."""
    steps = []

    def work():
        steps.append("work")
        if steps == ["work"]:
            raise error
        return "mask"

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: steps.append("empty"))
    queue = InferenceQueue(lambda: steps.append("relieve"), one_thread)
    assert queue.run(work, Deadline(PATIENCE)) == "mask"
    assert steps == ["work", "relieve", "empty", "work"]


@pytest.mark.parametrize("take", [torch.empty, np.empty], ids=["torch", "numpy"])
def test_what_the_machines_own_memory_can_spare_is_given_back_too(take):
    sizes, relieved = [10**15, 1, 10**15, 10**15], []
    queue = InferenceQueue(lambda: relieved.append(len(sizes)), one_thread)
    assert len(queue.run(lambda: take(sizes.pop(0)), Deadline(PATIENCE))) == 1
    with pytest.raises((MemoryError, RuntimeError), match="llocate"):
        queue.run(lambda: take(sizes.pop(0)), Deadline(PATIENCE))
    assert relieved == [3, 1]


def test_what_the_second_attempt_lacks_is_not_called_memory_unless_it_is():
    errors = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("shapes differ")]

    def work():
        raise errors.pop(0)

    with pytest.raises(RuntimeError, match="shapes differ"):
        queue_without_relief().run(work, Deadline(PATIENCE))


@pytest.mark.parametrize("seems_full", [False, True], ids=["at once", "after it seemed full"])
def test_a_gpu_that_fails_ends_the_process_so_that_another_begins(seems_full, monkeypatch):
    def broken():
        raise torch.AcceleratorError("CUDA error: an illegal memory access\nCUDA kernel errors …")

    def library():
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(torch.cuda, "empty_cache", broken)
    work = library if seems_full else broken
    asked_to_stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    try:
        with pytest.raises(DeviceError, match=r"failed \(CUDA error: an illegal memory access\)"):
            queue_without_relief().run(work, Deadline(PATIENCE))
        assert asked_to_stop.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_pass_that_never_ends_ends_the_process_so_that_another_begins(monkeypatch):
    queue = queue_without_relief()
    release, asked_to_stop = threading.Event(), threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    try:
        with pytest.raises(DeadlineError):
            queue.run(release.wait, Deadline(0.05))
        assert not queue.hangs
        monkeypatch.setattr(inference_queue, "HANGS_SECONDS", 0.01)
        with pytest.raises(DeviceError, match=r"a pass takes more than 0\.01 s, so this process"):
            queue.run(release.wait, Deadline(0.05))
        assert asked_to_stop.wait(PATIENCE)
        assert queue.hangs
    finally:
        signal.signal(signal.SIGTERM, before)
        release.set()
    assert queue.run(lambda: 7, Deadline(PATIENCE)) == 7
    assert not queue.hangs
