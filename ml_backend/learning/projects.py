"""The Label Studio projects this backend has met: their names, labels, and how to reach them."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from ml_backend.errors import NotFoundError
from ml_backend.label_studio.project_keys import MOST_PROJECTS, created_at, project_number
from training.moments import now
from training.store.database import Base, Database, UtcDateTime

_HEARD_SECONDS = 60.0
# What the last comparison found; a project that was not compared yet has just said something.
ProjectState = Literal["connected", "not connected", "gone"]


class ProjectRow(Base):
    """What is known of a project; empty text where nothing is. No token is kept here.

    `reconciled_at` is when it was last compared with Label Studio, `reconcile_note` what came of
    that, `state` the `ProjectState` that it was found in; `reconcile_problem` says why what was
    tried since failed, "" if nothing did, `reconcile_failed_at` when, and `reconcile_asked_at` when
    somebody asked for one that has not ended. `told` is what people read.
    """

    __tablename__ = "projects"

    key: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(index=True)
    title: Mapped[str] = mapped_column(default="")
    label_config: Mapped[str] = mapped_column(default="")
    hostname: Mapped[str] = mapped_column(default="")
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reconciled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reconcile_note: Mapped[str] = mapped_column(default="")
    reconcile_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reconcile_problem: Mapped[str] = mapped_column(default="")
    reconcile_failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(default="connected")

    @property
    def shown_title(self) -> str:
        """Its title, or what people call it that has none to be seen."""
        # blanks, or marks that nobody sees, would be a link that nobody finds
        is_seen = any(one.isprintable() and not one.isspace() for one in self.title)
        return self.title if is_seen else f"Project {self.number}"

    @property
    def is_reconcile_asked_for(self) -> bool:
        """Whether somebody asked for a comparison that is to come or under way."""
        return self.reconcile_asked_at is not None

    @property
    def told(self) -> str:
        """What came of the last comparison and of a later try, and what is to come, for people."""
        which = "the last" if self.reconciled_at is None else "a later"
        failed = f"{which} try failed: {self.reconcile_problem}" if self.reconcile_problem else ""
        at = self.reconcile_asked_at
        when = f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
        asked = f"a comparison that was asked for at {when} is to come or under way" if at else ""
        return "; ".join(part for part in (self.reconcile_note, failed, asked) if part)


@dataclass(frozen=True)
class ProjectNews:
    """What a message says about a project; empty text says nothing."""

    title: str = ""
    label_config: str = ""
    hostname: str = ""


class Projects:
    """The known projects; safe to share between threads and processes."""

    def __init__(self, database: Database) -> None:
        """Open them, creating the table where it does not exist."""
        self._database = database
        self._heard: dict[str, tuple[float, ProjectNews]] = {}
        database.create(ProjectRow)

    def hear(self, key: str, news: ProjectNews) -> None:
        """Remember what Label Studio says whenever somebody opens a task, once a minute.

        For the rest of the minute, a database that is away or hangs holds nobody up. A project that
        was not connected when it was last compared is to be compared again.
        """
        at, last = self._heard.get(key, (0.0, None))
        if last != news or time.monotonic() - at >= _HEARD_SECONDS:
            if self.remember(key, news).state != "connected":
                self.ask_to_reconcile(key)
            if len(self._heard) >= MOST_PROJECTS:
                self._heard.clear()
            self._heard[key] = time.monotonic(), news

    def remember(self, key: str, news: ProjectNews) -> ProjectRow:
        """Note what a message says; return all that is known, written only if it is new."""
        told = {name: value for name, value in vars(news).items() if value}
        known = self.find(key)
        if known and all(getattr(known, name) == value for name, value in told.items()):
            return known
        with self._database.write() as session:
            row = session.get(ProjectRow, key)
            if row is None:
                row = ProjectRow(key=key, number=project_number(key))
                session.add(row)
            for name, value in told.items():
                setattr(row, name, value)
            row.seen_at = now()
            session.flush()
            return row

    def reconciled(self, before: ProjectRow, note: str, state: ProjectState = "connected") -> None:
        """Note that a project was compared with Label Studio just now, and what came of it.

        Args:
            before: the project when that began; whoever asked for a comparison since is not
                answered by this one.
            note: what came of it.
            state: whether a model is connected to it.
        """
        with self._database.write() as session:
            row = session.get(ProjectRow, before.key)
            if row is not None:
                row.reconciled_at, row.reconcile_note = now(), note
                row.reconcile_problem, row.reconcile_failed_at, row.state = "", None, state
                _answer(row, before)

    def not_reconciled(self, before: ProjectRow, problem: str, is_gone: bool = False) -> None:
        """Note why a project could not be compared; when it last was stays known.

        Args:
            before: the project when that was tried.
            problem: what was wrong.
            is_gone: whether Label Studio has it no more, which answers whoever asked; nothing else
                does, so that what webhooks missed is compared in the end.
        """
        with self._database.write() as session:
            row = session.get(ProjectRow, before.key)
            if row is not None:
                row.reconcile_problem, row.reconcile_failed_at = problem, now()
                if is_gone:
                    row.state = "gone"
                    _answer(row, before)

    def find(self, key: str) -> ProjectRow | None:
        """Return what is known of the project with this key."""
        with self._database.read() as session:
            return session.get(ProjectRow, key)

    def forget(self, key: str) -> None:
        """Delete what is known of a project itself; it is met anew if Label Studio names it."""
        with self._database.write() as session:
            session.execute(delete(ProjectRow).where(ProjectRow.key == key))

    def ask_to_reconcile(self, key: str) -> None:
        """Let the project be compared with Label Studio at the worker's next look."""
        with self._database.write() as session:
            asked = update(ProjectRow).where(ProjectRow.key == key)
            session.execute(asked.values(reconcile_asked_at=now()))

    def ask_to_reconcile_all(self) -> None:
        """Let every known project be compared with Label Studio at the worker's next look."""
        with self._database.write() as session:
            session.execute(update(ProjectRow).values(reconcile_asked_at=now()))

    def is_reconcile_asked_for(self) -> bool:
        """Return whether somebody asked for a comparison of any project that has not ended."""
        with self._database.read() as session:
            asked = select(ProjectRow.key).where(ProjectRow.reconcile_asked_at.is_not(None))
            return session.scalar(asked.limit(1)) is not None

    def named(self, name: str) -> ProjectRow:
        """Return the project that a person or a URL means; see `key_of`.

        Raises:
            NotFoundError: if no such project was ever seen.
        """
        with self._database.read() as session:
            return session.get_one(ProjectRow, self.key_of(name))

    def key_of(self, name: str) -> str:
        """Return the key that a person or a URL means: a key, or a number's newest project.

        One that is gone is meant by its number only where all of them are.

        Raises:
            NotFoundError: if no such project was ever seen.
        """
        with self._database.read() as session:
            if not name.isprintable():  # PostgreSQL keeps and finds no NUL
                raise NotFoundError("a project's number or key holds no control characters")
            if session.get(ProjectRow, name) is not None:
                return name
            rows = session.scalars(select(ProjectRow).where(ProjectRow.number == name)).all()
        if not rows:
            raise NotFoundError(f"project {name} has never been seen here")
        # An older one comes back where Label Studio is restored from a backup.
        return max(rows, key=lambda row: (row.state != "gone", created_at(row.key))).key

    def meant(self, key: str) -> str:
        """Return the key of the project that a request of Label Studio is about, "" if unknown.

        It always says when the project was made. Whoever sends the number alone means the project
        that is known by it, and makes no new one: that would be taken for the newest of the number.
        """
        if not key or "." in key:
            return key
        try:
            return self.key_of(key)
        except NotFoundError:
            return ""

    def gone(self) -> list[str]:
        """Return the keys of those that Label Studio had no more when they were last compared."""
        with self._database.read() as session:
            rows = select(ProjectRow.key).where(ProjectRow.state == "gone")
            return list(session.scalars(rows.order_by(ProjectRow.key)))

    def all(self) -> list[ProjectRow]:
        """Return every known project, the one heard of last first."""
        with self._database.read() as session:
            return list(session.scalars(select(ProjectRow).order_by(ProjectRow.seen_at.desc())))


def _answer(row: ProjectRow, before: ProjectRow) -> None:
    """Forget that a comparison was asked for, unless somebody has asked again since it began."""
    if row.reconcile_asked_at == before.reconcile_asked_at:
        row.reconcile_asked_at = None
