"""Tells the worker, through the queue, that there is something to do; no request waits for that."""

import logging
import threading

from ml_backend.learning.inbox import Inbox
from ml_backend.learning.projects import Projects
from ml_backend.learning.work_queue import Tasks, said_by
from training.errors import DatabaseError

logger = logging.getLogger(__name__)


class Hints:
    """Gives hints from a thread of its own: no request ever waits for the queue."""

    def __init__(self, tasks: Tasks) -> None:
        """Start the thread; it ends with the process."""
        self._tasks = tasks
        self._wanted: set[str] = set()
        self._condition = threading.Condition()
        threading.Thread(target=self._run, name="hints", daemon=True).start()

    def ingest(self) -> None:
        """Hint that the inbox has news."""
        self._hint("ingest")

    def train(self) -> None:
        """Hint that a job waits."""
        self._hint("train")

    def _hint(self, name: str) -> None:
        with self._condition:
            self._wanted.add(name)
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: bool(self._wanted))
                wanted, self._wanted = self._wanted, set()
            for name in sorted(wanted):
                try:
                    getattr(self._tasks, name)()
                except Exception as error:
                    logger.warning(
                        "the queue cannot be reached (%s): the worker finds out by itself, a "
                        "minute after the queue is back",
                        said_by(error),
                    )


class HintedInbox:
    """An inbox that tells the worker when something was put into it; thread-safe."""

    def __init__(self, inbox: Inbox, projects: Projects, hints: Hints) -> None:
        self._inbox = inbox
        self._projects = projects
        self._hints = hints
        self._missed: set[str] = set()

    def put(self, action: str, project: str, body: bytes) -> int:
        """Keep a message; see `Inbox.put`.

        Label Studio does not repeat what could not be kept; with the first message that can be
        again, the projects that missed one are to be compared with it.

        Raises:
            DatabaseError: if it cannot be kept.
        """
        try:
            message = self._inbox.put(action, project, body)
        except DatabaseError:
            self._missed.add(project)
            raise
        self._hints.ingest()
        for missed in list(self._missed):
            self._projects.ask_to_reconcile(missed)
            self._missed.discard(missed)
        return message
