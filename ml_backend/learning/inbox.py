"""Webhooks, kept until they have been dealt with.

Label Studio waits one second for an answer and never repeats a message. So a request does no more
than write one row, and the worker takes the rows from here; a row that cannot be dealt with now,
because Label Studio or an image is away, waits and is tried again.

SQLite lets one process write at a time. So the inbox has a file of its own, in which the worker
writes no more than a line for each message: a request never waits while it stores samples.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Index, LargeBinary, delete, or_, select, update
from sqlalchemy.orm import Mapped, defer, mapped_column

from ml_backend.images.image_downloads import NOT_ASKED_AGAIN_SECONDS
from training.moments import latest_past, now
from training.store.database import Base, Database, UtcDateTime

# Before that an image that did not come is not asked for.
FIRST_RETRY = timedelta(seconds=NOT_ASKED_AGAIN_SECONDS)
LONGEST_RETRY = timedelta(minutes=10)
KEPT = timedelta(days=30)
_BODIES_AT_ONCE = 20  # each may be megabytes
_ROWS_AT_ONCE = 1000  # to delete them takes milliseconds, for which webhooks wait


class MessageRow(Base):
    """One webhook.

    `state` is "waiting"; "done", without a body from then on; or "failed": given up, whose body
    stays until a comparison has found what it was about, unless it waited for too long.
    """

    __tablename__ = "inbox"
    __table_args__ = (Index("inbox_due", "state", "due_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    action: Mapped[str]
    project: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    attempts: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    note: Mapped[str]
    # Last: SQLite goes through all of it on the way to a column behind it.
    body: Mapped[bytes] = mapped_column(LargeBinary)


@dataclass(frozen=True)
class Backlog:
    """How many messages of a project wait, since when, and how many were given up.

    What went wrong last with either is said beside it.
    """

    waiting: int
    oldest: datetime | None
    waiting_problem: str
    failed: int
    failed_problem: str


class Inbox:
    """The messages; safe to share between threads and processes."""

    def __init__(self, database: Database) -> None:
        """Open the inbox, creating its table where it does not exist."""
        self._database = database
        database.create(MessageRow)

    def put(self, action: str, project: str, body: bytes) -> int:
        """Keep a message; it is on disk when this returns.

        Args:
            action: such as ANNOTATION_CREATED.
            project: key of the project, "" if the message names none.
            body: the JSON as it came.
        """
        row = MessageRow(
            received_at=now(),
            action=action,
            project=project,
            body=body,
            state="waiting",
            attempts=0,
            due_at=now(),
            note="",
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            return row.id

    def next_due(self, before: datetime, passed_over: Collection[str] = ()) -> MessageRow | None:
        """Return the message that is due longest and was due at a moment, None if none was.

        Args:
            before: that moment.
            passed_over: keys of projects whose messages are to wait.
        """
        # No message waits so long, unless the clock was ahead when it was put off.
        is_due = or_(MessageRow.due_at <= before, MessageRow.due_at > before + 2 * LONGEST_RETRY)
        rows = select(MessageRow).where(
            MessageRow.state == "waiting", is_due, MessageRow.project.not_in(passed_over)
        )
        with self._database.read() as session:
            return session.scalars(rows.order_by(MessageRow.due_at, MessageRow.id).limit(1)).first()

    def annotations_after(self, message: int, project: str) -> Iterator[tuple[int, bytes]]:
        """Go through messages about annotations of a project that came later than one and wait.

        Yields:
            The number of each, and its body.
        """
        rows = select(MessageRow.id, MessageRow.body).where(
            MessageRow.state == "waiting",
            MessageRow.project == project,
            MessageRow.action.startswith("ANNOTATION"),
            MessageRow.id > message,
        )
        with self._database.read() as session:
            for found in session.execute(rows.order_by(MessageRow.id)).yield_per(_BODIES_AT_ONCE):
                yield found.id, found.body

    def is_waiting(self, message: int) -> bool:
        """Return whether a message has not been dealt with, nor given up."""
        with self._database.read() as session:
            row = session.get(MessageRow, message, options=[defer(MessageRow.body)])
            return row is not None and row.state == "waiting"

    def begin(self, message: int) -> None:
        """Count an attempt before it is made: a message that kills its worker counts, too."""
        with self._database.write() as session:
            row = session.get(MessageRow, message)
            if row is not None:
                row.attempts += 1
                row.due_at = _next_try(row.attempts)

    def done(self, message: int, note: str = "") -> None:
        """Note that a message has been dealt with, and forget its body: it holds a token."""
        self._change(message, state="done", note=note, body=b"")

    def fail(self, message: int, problem: str) -> None:
        """Note that a message cannot be dealt with."""
        self._change(message, state="failed", note=problem)

    def retry(self, message: int, problem: str) -> None:
        """Let a message that was begun wait from now on, twice as long as the time before."""
        with self._database.write() as session:
            row = session.get(MessageRow, message)
            if row is not None:
                row.due_at, row.note = _next_try(row.attempts), problem

    def postpone(self, message: int, problem: str) -> None:
        """Let a message wait for as long as it has waited; no attempt counts.

        After 30 days it is given up, without its body: disks are not made for what never ends.
        """
        with self._database.write() as session:
            row = session.get(MessageRow, message)
            if row is None:
                return
            waited = now() - row.received_at
            row.due_at = now() + min(max(waited, FIRST_RETRY), LONGEST_RETRY)
            row.attempts, row.note = 0, problem
            if waited > KEPT:
                row.state, row.body = "failed", b""
                row.note = f"given up after {KEPT.days} days: {problem}"

    def given_up(self, project: str, before: datetime) -> set[str]:
        """Return what the messages of a project asked for that came before and were given up."""
        rows = select(MessageRow.action).where(*_given_up(project, before)).distinct()
        with self._database.read() as session:
            return set(session.scalars(rows))

    def settle(self, project: str, before: datetime) -> None:
        """Forget what was given up: a comparison that began at this moment has found it out."""
        settled = update(MessageRow).where(*_given_up(project, before))
        with self._database.write() as session:
            session.execute(settled.values(state="done", body=b""))

    def backlog(self, project: str) -> Backlog:
        """Return what has not been dealt with of a project."""
        rows = select(MessageRow).where(MessageRow.state != "done", MessageRow.project == project)
        with self._database.read() as session:
            left = session.scalars(
                rows.options(defer(MessageRow.body)).order_by(MessageRow.id)
            ).all()
        waiting = [row for row in left if row.state == "waiting"]
        failed = [row for row in left if row.state == "failed"]
        return Backlog(
            waiting=len(waiting),
            oldest=min((row.received_at for row in waiting), default=None),
            waiting_problem=_last_problem(waiting),
            failed=len(failed),
            failed_problem=_last_problem(failed),
        )

    def has_waiting(self) -> bool:
        """Return whether any message waits; one short query, however many there are."""
        rows = select(MessageRow.id).where(MessageRow.state == "waiting").limit(1)
        with self._database.read() as session:
            return session.scalar(rows) is not None

    def forget(self, project: str) -> None:
        """Delete the messages of a project."""
        rows = select(MessageRow.id).where(MessageRow.project == project).limit(_ROWS_AT_ONCE)
        while True:
            with self._database.write() as session:
                if not (found := session.scalars(rows).all()):
                    return
                session.execute(delete(MessageRow).where(MessageRow.id.in_(found)))

    def tidy(self) -> None:
        """Delete rows of messages that were dealt with long ago; put the others into order."""
        for rows in self._done_long_ago():
            with self._database.write() as session:
                session.execute(delete(MessageRow).where(MessageRow.id.in_(rows)))
        self._database.checkpoint()

    def close(self) -> None:
        """Close its database."""
        self._database.close()

    def _done_long_ago(self) -> Iterator[list[int]]:
        """Yield the rows to delete, in portions; the lowest numbers are the oldest."""
        columns, long_ago, last = (MessageRow.id, MessageRow.received_at), now() - KEPT, 0
        while True:
            rows = select(*columns, MessageRow.state).where(MessageRow.id > last)
            with self._database.read() as session:
                portion = session.execute(rows.order_by(MessageRow.id).limit(_ROWS_AT_ONCE)).all()
            old = [row for row in portion if row.received_at < long_ago]
            if not old:
                return
            if done := [row.id for row in old if row.state == "done"]:
                yield done
            last = portion[-1].id

    def _change(self, message: int, **values: object) -> None:
        with self._database.write() as session:
            session.execute(update(MessageRow).where(MessageRow.id == message).values(**values))


def _next_try(attempts: int) -> datetime:
    return now() + min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LONGEST_RETRY)


def _last_problem(rows: Sequence[MessageRow]) -> str:
    return next((row.note for row in reversed(rows) if row.note), "")


def _given_up(project: str, before: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        MessageRow.state == "failed",
        MessageRow.project == project,
        # One that lies ahead came while the clock did.
        or_(MessageRow.received_at < before, MessageRow.received_at > latest_past()),
    )
