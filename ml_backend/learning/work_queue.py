"""The queue between serving processes and the worker, and the worker's timetable (huey).

What is queued are hints, not facts: the facts are rows in the database. A lost hint costs a minute,
until the next tick; that of a job costs seconds, since each worker also looks by itself: of several
the one that takes the hint may be busy. One that comes twice costs nothing. So the queue may be a
file, Redis or PostgreSQL, as the settings say, and none of them needs to be safe from power cuts.
"""

import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from huey import Huey, PostgresHuey, RedisHuey, SqliteHuey, crontab
from huey.exceptions import ConfigurationError
from huey.registry import Message
from huey.serializer import Serializer

from ml_backend.errors import SettingsError
from ml_backend.settings import Settings
from training.errors import DatabaseError

logger = logging.getLogger(__name__)

_NAME = "icmformer"
_UNREADABLE = (
    "ICMFORMER_QUEUE_URL cannot be read: write it like redis://:password@host:6379/0, "
    "[ ] in a password as %5B %5D, and after a ? only options that redis-py knows"
)


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


class HintSerializer(Serializer):
    """Writes what is asked for as its id and name; there is no more to it.

    With huey's own, which is Python's pickle, whoever can write to the queue could have the worker
    run any program.
    """

    def _serialize(self, data: Message) -> bytes:
        return json.dumps([data.id, data.name]).encode()

    def _deserialize(self, data: bytes) -> Message:
        number, name = json.loads(bytes(data))
        return Message(str(number), str(name), retries=0, args=(), kwargs={})


def open_queue(settings: Settings) -> Huey:
    """Open the queue that the settings name.

    Raises:
        SettingsError: if its address is of no kind that is known, or needs a package that is not
            installed, or if the file cannot be used.
    """
    url = settings.queue_url
    if url is None:
        settings.model_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _queue_in(settings.state_folder.queue)
    if url.startswith(("redis://", "rediss://")):
        try:
            return RedisHuey(_NAME, url=url, results=False, serializer=HintSerializer())
        except ValueError:  # which may quote the password
            raise SettingsError(_UNREADABLE) from None
    if url.startswith(("postgresql://", "postgres://")):
        try:
            # To make its tables here would keep clicks waiting for a queue that is down.
            return PostgresHuey(
                _NAME, dsn=url, results=False, serializer=HintSerializer(), create_tables=False
            )
        except ConfigurationError as error:
            raise SettingsError(
                "ICMFORMER_QUEUE_URL is PostgreSQL, for which a package is missing: install "
                '"psycopg[binary]" (docs/deployment.md says how)'
            ) from error
    raise SettingsError("ICMFORMER_QUEUE_URL must start with redis:// or postgresql://")


def _queue_in(file: Path) -> Huey:
    """Open the file; one that is damaged, as after a power cut, begins anew: it holds hints."""
    try:
        return _opened(file)
    except sqlite3.OperationalError as error:
        raise SettingsError(f"the queue {file} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        logger.warning("the queue %s was damaged and begins anew: %s", file, error)
    for ending in ("", "-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)
    return _opened(file)


def _opened(file: Path) -> Huey:
    if not file.exists():
        file.touch(mode=0o660)  # SQLite would let every user read it
    queue = SqliteHuey(
        _NAME, filename=str(file), results=False, serializer=HintSerializer(), fsync=False
    )
    queue.pending_count()  # a truncated file can be opened, but not read
    return queue


def require_reachable(queue: Huey) -> None:
    """Raise SettingsError unless the queue keeps things; make its tables where it has any."""
    try:
        if isinstance(queue, PostgresHuey):
            queue.storage.initialize_schema()
        queue.storage.put_data("icmformer.kept", b"")
        queue.storage.pop_data("icmformer.kept")
    except TypeError:  # of an option that redis-py's connections do not know
        raise SettingsError(_UNREADABLE) from None
    except Exception as error:  # each kind of queue has its own
        raise SettingsError(
            f"the queue cannot be reached: {said_by(error)}; start it, or correct "
            "ICMFORMER_QUEUE_URL"
        ) from error


def declare_tasks(queue: Huey, duties: Duties) -> Tasks:
    """Tell the queue what can be asked of a worker; the same names in every process and release."""

    def ingest() -> None:
        _do(duties.ingest)
        _do(duties.train)  # a message may have asked for a job

    def train() -> None:
        _do(duties.train)

    def tick() -> None:
        _do(duties.tick)
        _do(duties.train)

    def reconcile() -> None:
        _do(duties.reconcile_due)

    for function in (ingest, train, tick, reconcile):
        function.__module__ = "icmformer"  # a part of the name; ours may move
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


def said_by(error: Exception) -> str:
    """Return what a queue that cannot be reached says, to go on with in a sentence."""
    return " ".join(str(error).split()).rstrip(".?")
