"""Webhooks, kept until they have been dealt with.

Label Studio waits one second for an answer and never repeats a message. So a request does no more
than write it down, and the worker takes messages from here; one that cannot be dealt with now,
because Label Studio or an image is away, waits and is tried again.

SQLite lets one process write at a time. So the inbox has a file of its own, in which the worker
writes no more than a line for each message: a request never waits while it stores samples. A body
may have megabytes, and every page of it is overwritten when it goes: so bodies lie in a table of
their own, which nothing else touches, and go piece by piece. The last of them goes from SQLite's
log when the inbox is put in order, once a minute.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from time import sleep

from sqlalchemy import (
    ColumnElement,
    Index,
    LargeBinary,
    UpdateBase,
    and_,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from ml_backend.images.image_limits import NOT_ASKED_AGAIN_SECONDS
from training.moments import latest_past, now
from training.store.database import Base, Database, UtcDateTime

# Before that an image that did not come is not asked for.
FIRST_RETRY = timedelta(seconds=NOT_ASKED_AGAIN_SECONDS)
LONGEST_RETRY = timedelta(minutes=10)
KEPT = timedelta(days=30)
# To change these rows or to delete these pieces takes milliseconds, for which webhooks wait.
_ROWS_AT_ONCE = 200
_PIECE_BYTES = 2**16
_PIECES_AT_ONCE = 16
# In SQLite, who waits to write is not told, but looks again after 1, 2, 5, 10, 15 and 20 ms.
_PAUSE_SECONDS = 0.02


class MessageRow(Base):
    """One webhook.

    `state` is "waiting"; "done", without a body from then on; or "failed": given up, whose body
    stays until a comparison has found what it was about, or 30 days have passed. No number is used
    twice: a worker may deal with a message that has been deleted.
    """

    __tablename__ = "inbox"
    __table_args__ = (
        Index("inbox_due", "state", "due_at"),
        Index("inbox_of_project", "project", "state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    action: Mapped[str]
    project: Mapped[str]
    state: Mapped[str] = mapped_column(default="waiting")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    note: Mapped[str] = mapped_column(default="")


class PieceRow(Base):
    """A piece of a message's body, in the order of their numbers.

    No foreign key: pieces go after the message does. No number is used twice, for whoever found
    that nobody needs a piece deletes it by its number.
    """

    __tablename__ = "inbox_pieces"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    message: Mapped[int] = mapped_column(index=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


@dataclass(frozen=True)
class Message:
    """A message that waits, see `MessageRow`, with its body."""

    id: int
    action: str
    project: str
    attempts: int
    note: str
    body: bytes

    @property
    def was_tried(self) -> bool:
        """Whether this is not the first attempt; none counts of a message that was postponed."""
        return self.attempts > 0 or bool(self.note)


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
        """Open the inbox, creating its tables where they do not exist."""
        self._database = database
        database.create(MessageRow, PieceRow)

    def put(self, action: str, project: str, body: bytes) -> int:
        """Keep a message; it is on disk when this returns.

        Args:
            action: such as ANNOTATION_CREATED.
            project: key of the project, "" if the message names none.
            body: the JSON as it came.
        """
        row = MessageRow(received_at=now(), action=action, project=project, due_at=now())
        with self._database.write() as session:
            session.add(row)
            session.flush()
            pieces = (body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES))
            values = [{"message": row.id, "content": piece} for piece in pieces]
            if values:
                session.execute(insert(PieceRow), values)
            return row.id

    def next_due(self, before: datetime, passed_over: Collection[str] = ()) -> Message | None:
        """Return the message that is due longest and was due at a moment, None if none was.

        Args:
            before: that moment.
            passed_over: keys of projects whose messages are to wait.
        """
        # No message waits so long, unless the clock was ahead when it was put off.
        is_due = or_(MessageRow.due_at <= before, MessageRow.due_at > now() + 2 * LONGEST_RETRY)
        due = select(MessageRow.id).where(
            MessageRow.state == "waiting", is_due, MessageRow.project.not_in(passed_over)
        )
        first = due.order_by(MessageRow.due_at, MessageRow.id).limit(1).correlate(None)
        # One statement sees one state of the database: all pieces, whoever deletes some.
        rows = (
            select(MessageRow, PieceRow.content)
            .outerjoin(PieceRow, PieceRow.message == MessageRow.id)
            .where(MessageRow.id == first.scalar_subquery())
        )
        with self._database.read() as session:
            found = session.execute(rows.order_by(PieceRow.id)).all()
        if not found:
            return None
        row, body = found[0].MessageRow, b"".join(piece.content or b"" for piece in found)
        return Message(row.id, row.action, row.project, row.attempts, row.note, body)

    def annotations_after(self, message: int, project: str) -> Iterator[tuple[int, bytes]]:
        """Go through messages about annotations of a project that came later than one and wait.

        Yields:
            The number of each, and its body.
        """
        rows = (
            select(MessageRow.id, PieceRow.content)
            .join(PieceRow, PieceRow.message == MessageRow.id)
            .where(
                MessageRow.state == "waiting",
                MessageRow.project == project,
                MessageRow.action.startswith("ANNOTATION"),
                MessageRow.id > message,
            )
            .order_by(MessageRow.id, PieceRow.id)
        )
        with self._database.read() as session:
            pieces = session.execute(rows).yield_per(_PIECES_AT_ONCE)
            for found, body in groupby(pieces, key=lambda piece: piece.id):
                yield found, b"".join(piece.content for piece in body)

    def is_waiting(self, message: int) -> bool:
        """Return whether a message has not been dealt with, nor given up."""
        with self._database.read() as session:
            row = session.get(MessageRow, message)
            return row is not None and row.state == "waiting"

    def begin(self, message: Message) -> bool:
        """Count an attempt before it is made: a message that kills its worker counts, too.

        Returns:
            Whether it is the caller's to deal with: no other worker was faster.
        """
        attempts = message.attempts + 1
        rows = update(MessageRow).where(
            MessageRow.id == message.id,
            MessageRow.state == "waiting",
            MessageRow.attempts == message.attempts,
        )
        begun = rows.values(attempts=attempts, due_at=_next_try(attempts))
        return self._database.update(begun) == 1

    def done(self, message: int, note: str = "") -> None:
        """Note that a message has been dealt with, and forget its body: it holds a token."""
        self._change(message, state="done", note=note)
        self._delete_pieces(PieceRow.message == message)

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
                row.state = "failed"
                row.note = f"given up after {KEPT.days} days: {problem}"
        if waited > KEPT:
            self._delete_pieces(PieceRow.message == message)

    def given_up(self, project: str, before: datetime) -> set[str]:
        """Return what the messages of a project asked for that came before and were given up."""
        rows = select(MessageRow.action).where(*_given_up(project, before)).distinct()
        with self._database.read() as session:
            return set(session.scalars(rows))

    def settle(self, project: str, before: datetime) -> None:
        """Forget what was given up: a comparison that began at this moment has found it out."""
        settled = update(MessageRow).values(state="done")
        rows = select(MessageRow.id).where(*_given_up(project, before))
        with self._database.read() as session:
            found = session.scalars(rows).all()
        self._write(found, _ROWS_AT_ONCE, lambda some: settled.where(MessageRow.id.in_(some)))
        self._delete_pieces(_nobody_needs())

    def backlog(self, project: str) -> Backlog:
        """Return what has not been dealt with of a project."""
        with self._database.read() as session:
            waiting, oldest, waiting_problem = _left(session, project, "waiting")
            failed, _, failed_problem = _left(session, project, "failed")
        return Backlog(waiting, oldest, waiting_problem, failed, failed_problem)

    def has_annotations(self, project: str) -> bool:
        """Return whether a message about annotations of a project waits."""
        about = MessageRow.project == project, MessageRow.action.startswith("ANNOTATION")
        rows = select(MessageRow.id).where(MessageRow.state == "waiting", *about).limit(1)
        with self._database.read() as session:
            return session.scalar(rows) is not None

    def has_waiting(self) -> bool:
        """Return whether any message waits; one short query, however many there are."""
        rows = select(MessageRow.id).where(MessageRow.state == "waiting").limit(1)
        with self._database.read() as session:
            return session.scalar(rows) is not None

    def forget(self, project: str) -> None:
        """Delete the messages of a project."""
        rows = select(MessageRow.id).where(MessageRow.project == project)
        with self._database.read() as session:
            found = session.scalars(rows).all()
        self._write(found, _ROWS_AT_ONCE, _without)
        self._delete_pieces(_nobody_needs())
        self._database.empty_log()

    def tidy(self) -> None:
        """Delete what is left of messages that were dealt with; put the others into order."""
        self._write(list(self._done_long_ago()), _ROWS_AT_ONCE, _without)
        self._delete_pieces(_nobody_needs())
        self._database.empty_log()

    def close(self) -> None:
        """Close its database."""
        self._database.close()

    def _done_long_ago(self) -> Iterator[int]:
        """Yield the rows to delete; the lowest numbers are the oldest."""
        columns, long_ago, last = (MessageRow.id, MessageRow.received_at), now() - KEPT, 0
        while True:
            rows = select(*columns, MessageRow.state).where(MessageRow.id > last)
            with self._database.read() as session:
                portion = session.execute(rows.order_by(MessageRow.id).limit(_ROWS_AT_ONCE)).all()
            old = [row for row in portion if row.received_at < long_ago]
            if not old:
                return
            yield from (row.id for row in old if row.state == "done")
            last = portion[-1].id

    def _delete_pieces(self, which: ColumnElement[bool]) -> None:
        """Delete pieces in portions; what a crash leaves is found by `_nobody_needs`."""
        with self._database.read() as session:
            found = session.scalars(select(PieceRow.id).where(which)).all()
        self._write(
            found, _PIECES_AT_ONCE, lambda some: delete(PieceRow).where(PieceRow.id.in_(some))
        )

    def _write(
        self, rows: Sequence[int], at_once: int, change: Callable[[Sequence[int]], UpdateBase]
    ) -> None:
        """Change rows, some in each transaction; between two, others have a turn."""
        for begin in range(0, len(rows), at_once):
            if begin:
                self._database.checkpoint()
                sleep(_PAUSE_SECONDS)
            with self._database.write() as session:
                session.execute(change(rows[begin : begin + at_once]))

    def _change(self, message: int, **values: object) -> None:
        with self._database.write() as session:
            session.execute(update(MessageRow).where(MessageRow.id == message).values(**values))


def _next_try(attempts: int) -> datetime:
    return now() + min(FIRST_RETRY * 2 ** min(attempts - 1, 10), LONGEST_RETRY)


def _without(messages: Sequence[int]) -> UpdateBase:
    return delete(MessageRow).where(MessageRow.id.in_(messages))


def _nobody_needs() -> ColumnElement[bool]:
    """Pieces of messages that were dealt with, deleted, or given up long ago."""
    is_kept = or_(
        MessageRow.state == "waiting",
        and_(MessageRow.state == "failed", MessageRow.received_at >= now() - KEPT),
    )
    return not_(exists().where(MessageRow.id == PieceRow.message, is_kept))


def _left(session: Session, project: str, state: str) -> tuple[int, datetime | None, str]:
    """Count messages in a state; return also when the oldest came, and the last problem of any."""
    where = MessageRow.project == project, MessageRow.state == state
    counted = select(func.count(), func.min(MessageRow.received_at)).where(*where)
    told = select(MessageRow.note).where(*where, MessageRow.note != "")
    count, oldest = session.execute(counted).one()
    if not count:
        return 0, None, ""
    last = session.scalars(told.order_by(MessageRow.id.desc()).limit(1)).first()
    return count, oldest, last or ""


def _given_up(project: str, before: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        MessageRow.state == "failed",
        MessageRow.project == project,
        # One that lies ahead came while the clock did.
        or_(MessageRow.received_at < before, MessageRow.received_at > latest_past()),
    )
