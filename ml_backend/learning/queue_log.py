"""Says once a minute, in a sentence, that the queue is away, where huey writes a trace a second."""

import logging
import threading
import time

_EVERY_SECONDS = 60.0


class QueueAway(logging.Filter):
    """Shortens what huey's threads log while they wait for the queue."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._said_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be written; a trace becomes a sentence."""
        if not record.exc_info or not str(record.msg).startswith("Error "):
            return True
        with self._lock:
            if time.monotonic() - self._said_at < _EVERY_SECONDS:
                return False
            self._said_at = time.monotonic()
        problem = str(record.exc_info[1]).rstrip(".")
        record.msg = "the queue cannot be reached (%s): the worker waits until it is back"
        record.args, record.exc_info = (problem,), None
        return True


def shorten_queue_log() -> None:
    """Begin to; called by the worker once its log is set up."""
    shortened = QueueAway()
    for part in ("Worker", "Scheduler"):
        logging.getLogger(f"huey.consumer.{part}").addFilter(shortened)
