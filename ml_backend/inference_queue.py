"""One place where networks run, one after the other, in the order in which requests came.

Two forward passes at once would share the same cores or the same GPU and both be slower; and torch
keeps a pool of worker threads for every thread that calls it. So all requests hand their work to
one thread, and wait for it no longer than their deadline.

Whoever shares the GPU may leave too little memory at any moment: then everything that is held only
to save time is given back, and the work tried once more. A GPU that fails in any other way answers
nothing more to this process, which ends; gunicorn begins another.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import torch

from ml_backend.errors import DeadlineError, DeviceError, DeviceMemoryError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Deadline:
    """A moment after which nobody waits for the answer any more."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._seconds = seconds

    def remaining(self) -> float:
        """Return the seconds that are left, 0 when it has passed."""
        return max(0.0, self._at - time.monotonic())

    def check(self) -> None:
        """Raise DeadlineError if the moment has passed."""
        if self.remaining() == 0.0:
            raise DeadlineError(f"no answer within {self._seconds:g} s: the machine is overloaded")


class InferenceQueue:
    """Runs work in one thread, first come, first served."""

    def __init__(self, relieve: Callable[[], None]) -> None:
        """Begin the thread.

        Args:
            relieve: gives back what memory of the GPU can be spared.
        """
        self._relieve = relieve
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._lock = threading.Lock()
        self._depth = 0

    @property
    def depth(self) -> int:
        """Pieces of work that wait or run."""
        return self._depth

    def run(self, work: Callable[[], Result], deadline: Deadline) -> Result:
        """Run `work` when its turn comes, and return what it returns or raise what it raises.

        Raises:
            DeadlineError: if it is not done in time; what has not begun never will.
            DeviceMemoryError: if it does not fit into the GPU's memory.
            DeviceError: if the GPU failed; the process is then asked to stop.
        """
        deadline.check()
        future = self._executor.submit(self._on_a_working_device, work, deadline)
        self._count(1)
        future.add_done_callback(self._done)
        try:
            return future.result(timeout=deadline.remaining())
        except FutureTimeoutError:
            future.cancel()
            deadline.check()
            raise

    def _on_a_working_device(self, work: Callable[[], Result], deadline: Deadline) -> Result:
        try:
            return self._unless_late(work, deadline)
        except torch.AcceleratorError as error:
            os.kill(os.getpid(), signal.SIGTERM)
            reason = str(error).partition("\n")[0]
            raise DeviceError(
                f"the GPU failed ({reason}), so this process begins anew: click again in a moment"
            ) from error

    def _unless_late(self, work: Callable[[], Result], deadline: Deadline) -> Result:
        deadline.check()
        try:
            return work()
        except torch.OutOfMemoryError:
            logger.warning("out of GPU memory: forgetting all masks and trying once more")
        # Not inside the handler: while the error lives, so do the tensors of what failed.
        self._relieve()
        torch.cuda.empty_cache()
        try:
            return work()
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(
                "the GPU has too little memory for one more click: keep other programs off it, or "
                "lower ICMFORMER_MODEL_MEMORY_MB or ICMFORMER_CLICK_MEMORY_MB"
            ) from error

    def _done(self, _: Future[Any]) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._depth += change
