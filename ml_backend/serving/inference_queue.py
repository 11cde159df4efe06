"""One place where networks run, one after the other, in the order in which requests came.

Two forward passes at once would share the same cores or the same GPU and both be slower; and torch
keeps a pool of worker threads for every thread that calls it. So all requests hand their work to
one thread, and wait for it no longer than their deadline. It computes at a lower priority than what
the others do, which takes milliseconds: a webhook must not wait for somebody's click. And it alone
has workers: with those of a second pool there would be more than cores, and GNU's OpenMP then lets
none of them wait awake for the next piece of a pass, which makes a click a quarter slower.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import torch

from ml_backend.deadline import Deadline
from ml_backend.serving.device_trouble import despite_trouble, end_process

Result = TypeVar("Result")

_NICER = 5  # than the threads that answer; a third of their share where cores are scarce

# Nobody waits for a piece of work that long, and one that takes longer will not end: drivers of
# GPUs may hang, and then every click waits for the one with which that began.
HANGS_SECONDS = 300.0


class InferenceQueue:
    """Runs work in one thread, first come, first served."""

    def __init__(self, relieve: Callable[[], None], threads: Callable[[], int]) -> None:
        """Have no thread yet: it begins with the first work.

        Args:
            relieve: as for `ml_backend.serving.device_trouble.despite_trouble`.
            threads: says, before each piece of work, how many of torch's it takes.
        """
        self._relieve = relieve
        self._threads = threads
        self._executor = ThreadPoolExecutor(
            1, thread_name_prefix="inference", initializer=_let_others_go_first
        )
        self._lock = threading.Lock()
        self._depth = 0
        self._begun: float | None = None

    @property
    def depth(self) -> int:
        """Pieces of work that wait or run."""
        return self._depth

    @property
    def hangs(self) -> bool:
        """Whether the piece of work that runs will not end."""
        begun = self._begun
        return begun is not None and time.monotonic() - begun > HANGS_SECONDS

    def run(self, work: Callable[[], Result], deadline: Deadline) -> Result:
        """Run `work` when its turn comes, and return what it returns or raise what it raises.

        Raises:
            DeadlineError: if it is not done in time; what has not begun never will.
            DeviceMemoryError: if it does not fit into the GPU's memory.
            DeviceError: if the GPU failed or hangs; the process is then asked to stop.
        """
        deadline.check()
        future = self._executor.submit(self._unless_late, work, deadline)
        self._count(1)
        future.add_done_callback(self._done)
        try:
            return future.result(timeout=deadline.remaining())
        except FutureTimeoutError:
            future.cancel()
            if self.hangs:
                raise end_process(f"a pass takes more than {HANGS_SECONDS:g} s") from None
            deadline.check()
            raise

    def _unless_late(self, work: Callable[[], Result], deadline: Deadline) -> Result:
        deadline.check()
        _take_threads(self._threads())
        self._begun = time.monotonic()
        try:
            return despite_trouble(work, self._relieve)
        finally:
            self._begun = None

    def _done(self, _: Future[Any]) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._depth += change


def _take_threads(count: int) -> None:
    """Have what this thread computes take so many of torch's."""
    # Torch forgets what it has prepared when it is told a number, even the same one.
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def _let_others_go_first() -> None:
    """Lower the priority of this thread, and of those that torch will start from it."""
    this = threading.get_native_id()
    # Elsewhere priorities belong to processes; and some sandboxes know none.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, this, os.getpriority(os.PRIO_PROCESS, this) + _NICER)
