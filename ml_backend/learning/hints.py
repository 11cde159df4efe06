"""Tells the worker, through the queue, that there is something to do; no request waits for that."""

import logging
import threading
from collections.abc import Callable

from ml_backend.learning.inbox import Inbox
from ml_backend.learning.projects import Projects
from ml_backend.learning.work_queue import Tasks, said_by
from training.errors import DatabaseError

logger = logging.getLogger(__name__)


class Hints:
    """Gives hints from a thread of its own: no request ever waits for the queue.

    Nor does one for what else is given to `soon`.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Start the thread; it ends with the process."""
        self._tasks = tasks
        self._wanted: list[Callable[[], object]] = []
        self._condition = threading.Condition()
        threading.Thread(target=self._run, name="hints", daemon=True).start()

    def ingest(self) -> None:
        """Hint that the inbox has news."""
        self.soon(self._tasks.ingest)

    def train(self) -> None:
        """Hint that a job waits."""
        self.soon(self._tasks.train)

    def soon(self, act: Callable[[], object]) -> None:
        """Do something in the thread; once, where it is asked for again before its turn."""
        with self._condition:
            if act not in self._wanted:
                self._wanted.append(act)
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: bool(self._wanted))
                wanted, self._wanted = self._wanted, []
            for act in wanted:
                try:
                    act()
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

    def put(self, action: str, project: str, body: bytes) -> None:
        """Keep a message; see `Inbox.put`.

        Label Studio does not repeat what could not be kept; after the first message that can be
        again, the projects that missed one are to be compared with it.

        Raises:
            DatabaseError: if it cannot be kept.
        """
        try:
            self._inbox.put(action, project, body)
        except DatabaseError:
            self._missed.add(project)
            raise
        self._hints.ingest()
        if self._missed:
            # Another database says so, in which the worker may be writing: not in a request.
            self._hints.soon(self._ask_to_reconcile)

    def _ask_to_reconcile(self) -> None:
        """Have what was missed compared; what cannot be asked now is, after the next message."""
        for project in list(self._missed):
            # Before it is asked: a message that is missed meanwhile is asked for once more.
            self._missed.discard(project)
            try:
                self._projects.ask_to_reconcile(project)
            except Exception as error:
                self._missed.add(project)
                trace = None if isinstance(error, DatabaseError) else error
                logger.warning(
                    "what webhooks missed is asked for after the next one: %s",
                    error,
                    exc_info=trace,
                )
                return
