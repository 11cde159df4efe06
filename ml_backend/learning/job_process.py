"""Waits for the process of a job, and ends one that does not stop when it is to."""

import logging
import math
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
    hangs_from = math.inf
    while process.poll() is None:
        if _is_cancelled(keep_claim):
            hangs_from = min(hangs_from, monotonic() + cancel_seconds)
        if stopping.wait(_LOOK_SECONDS):
            _end(process, stop_seconds)
        elif monotonic() >= hangs_from:
            logger.warning("the job that was cancelled does not stop: its process is ended")
            _end(process, stop_seconds)


def _is_cancelled(keep_claim: Callable[[], bool]) -> bool:
    try:
        return keep_claim()
    except DatabaseError as error:
        logger.warning("the claim could not be renewed: %s", error)
    except Exception:
        logger.exception("the claim could not be renewed")
    return False


def _end(process: "subprocess.Popen[bytes]", stop_seconds: float) -> None:
    process.terminate()
    try:
        process.wait(stop_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
