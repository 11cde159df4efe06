"""Waits for the process of a job, and ends one that does not stop when it is to."""

import logging
import math
import signal
import subprocess
import threading
from collections.abc import Callable
from time import monotonic

from training.errors import DatabaseError

logger = logging.getLogger(__name__)

STOP_SECONDS = 20.0
# A cancelled job stops when it next tells how far it is: a large network may need minutes.
_CANCEL_SECONDS = 600.0
_LOOK_SECONDS = 0.5


def how_it_ended(returncode: int) -> str:
    """Say what became of a process, as "was ended by SIGKILL …"; "" of one that ended in order."""
    if returncode >= 0:
        return f"ended with status {returncode}" if returncode else ""
    hint = ", as the system does where memory is short" if -returncode == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-returncode).name}{hint}"


def wait_for(
    process: "subprocess.Popen[bytes]",
    keep_claim: Callable[[], bool],
    stopping: threading.Event,
    cancel_seconds: float = _CANCEL_SECONDS,
    stop_seconds: float = STOP_SECONDS,
) -> None:
    """Wait until the process of a job has ended.

    Args:
        process: of the job.
        keep_claim: renews the claim on the job, and returns whether somebody cancelled it.
        stopping: set when this process is to end, and the job before it.
        cancel_seconds: after so long, a job that was cancelled is taken to hang and is ended.
        stop_seconds: how long a process that is told to end may take before it is killed.
    """
    hangs_from, claim = math.inf, _Claim(keep_claim)
    while process.poll() is None:
        if claim.is_cancelled():
            hangs_from = min(hangs_from, monotonic() + cancel_seconds)
        if stopping.wait(_LOOK_SECONDS):
            _end(process, stop_seconds)
        elif monotonic() >= hangs_from:
            logger.warning("the job that was cancelled does not stop: its process is ended")
            _end(process, stop_seconds)


class _Claim:
    """Renews the claim on a job; what keeps it from that is said once, and so is the end of it."""

    def __init__(self, keep: Callable[[], bool]) -> None:
        self._keep = keep
        self._said = ""

    def is_cancelled(self) -> bool:
        try:
            is_cancelled = self._keep()
        except Exception as error:
            if self._said != repr(error):
                self._said = repr(error)
                trace = None if isinstance(error, DatabaseError) else error
                logger.warning("the claim could not be renewed: %s", error, exc_info=trace)
            return False
        if self._said:
            logger.info("the claim is renewed again")
            self._said = ""
        return is_cancelled


def _end(process: "subprocess.Popen[bytes]", stop_seconds: float) -> None:
    process.terminate()
    try:
        process.wait(stop_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
