"""The queue between serving processes and the worker, and the worker's timetable (huey).

What is queued are hints, not facts: the facts are rows in the database. A lost hint costs a minute,
until the next tick; one that comes twice costs nothing. So the queue may be a file, Redis or
PostgreSQL, as the settings say, and none of them needs to be safe from power cuts.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from huey import Huey, PostgresHuey, RedisHuey, SqliteHuey, crontab
from huey.exceptions import ConfigurationError

from ml_backend.errors import SettingsError
from ml_backend.inbox import Inbox
from ml_backend.projects import Projects
from ml_backend.settings import Settings
from training.errors import DatabaseError

logger = logging.getLogger(__name__)

_NAME = "icmformer"


class Duties(Protocol):
    """What a worker can be asked to do."""

    def ingest(self) -> None:
        """Deal with what is in the inbox."""

    def train(self) -> None:
        """Do the fine-tuning jobs that wait."""

    def tick(self) -> None:
        """Do what is due."""

    def reconcile_due(self) -> None:
        """Compare projects with Label Studio."""


class NoDuties:
    """Of a process that only gives hints."""

    def ingest(self) -> None:
        """Nothing: another process does it."""

    train = tick = reconcile_due = ingest


@dataclass(frozen=True)
class Tasks:
    """What can be put into the queue."""

    ingest: Callable[[], object]
    train: Callable[[], object]
    tick: Callable[[], object]


def open_queue(settings: Settings) -> Huey:
    """Open the queue that the settings name.

    Raises:
        SettingsError: if its address is of no kind that is known, or needs a package that is not
            installed.
    """
    url = settings.queue_url
    if url is None:
        settings.model_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return SqliteHuey(
            _NAME, filename=str(settings.model_dir / "queue.db"), results=False, fsync=False
        )
    if url.startswith(("redis://", "rediss://")):
        return RedisHuey(_NAME, url=url, results=False)
    if url.startswith(("postgresql://", "postgres://")):
        try:
            return PostgresHuey(_NAME, dsn=url, results=False)
        except ConfigurationError as error:
            raise SettingsError(
                "ICMFORMER_QUEUE_URL is PostgreSQL, for which a package is missing: install "
                '"psycopg[binary]" (docs/learning.md says how)'
            ) from error
    raise SettingsError("ICMFORMER_QUEUE_URL must start with redis:// or postgresql://")


def require_reachable(queue: Huey) -> None:
    """Raise SettingsError unless the queue answers."""
    try:
        queue.pending_count()
    except Exception as error:  # each kind of queue has its own
        raise SettingsError(
            f"the queue cannot be reached: {_said_by(error)}; start it, or correct "
            "ICMFORMER_QUEUE_URL"
        ) from error


def declare_tasks(queue: Huey, duties: Duties) -> Tasks:
    """Tell the queue what can be asked of a worker; the same names in every process."""

    def ingest() -> None:
        _do(duties.ingest)

    def train() -> None:
        _do(duties.train)

    def tick() -> None:
        _do(duties.tick)
        _do(duties.train)

    def reconcile() -> None:
        _do(duties.reconcile_due)

    tasks = Tasks(
        ingest=queue.task(name="ingest")(ingest),
        train=queue.task(name="train")(train),
        tick=queue.task(name="tick")(tick),
    )
    queue.periodic_task(crontab(), name="every_minute")(tick)
    queue.periodic_task(crontab(), name="reconcile")(reconcile)
    return tasks


def _do(duty: Callable[[], None]) -> None:
    try:
        duty()
    except DatabaseError as error:
        logger.warning("%s: what is due is tried again within a minute", error)
    except Exception:
        # Nobody foresaw it; what is due besides must not wait for it.
        logger.exception("what is due is tried again within a minute")


def _said_by(error: Exception) -> str:
    return str(error).rstrip(".")


class HintedInbox:
    """An inbox that tells the worker when something was put into it; thread-safe."""

    def __init__(self, inbox: Inbox, projects: Projects, hints: "Hints") -> None:
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
                        _said_by(error),
                    )
