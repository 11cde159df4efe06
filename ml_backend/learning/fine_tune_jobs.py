"""Fine-tuning jobs as rows: asked for, claimed by a worker, finished; one at a time a project.

The queue only carries hints; these rows are what is true. A worker that dies stops renewing its
claim, and the next one continues the job where it was. A request while a job waits adds a reason to
it; one while a job runs makes one more wait, for what was accepted since (whether anything was, is
for `ml_backend.learning.next_job` to say).
"""

import contextlib
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import JSON, ColumnElement, Index, delete, exists, func, or_, select, text, update
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from ml_backend.errors import JobError
from training.moments import latest_past, now
from training.store.database import LARGEST_INTEGER, Base, Database, UtcDateTime

JobState = Literal[
    "waiting",
    "running",
    "finished",  # `result` says with what
    "failed",  # `message` says why
    "cancelled",
]
UNFINISHED: tuple[JobState, ...] = ("waiting", "running")
LEASE = timedelta(seconds=30)  # a worker that does not renew its claim for so long is dead
_LONGEST_SILENCE = 2 * LEASE  # until then the next worker may take the job over unnoticed
_MOST_REASONS = 10  # that are told of a job
MOST_ATTEMPTS = 3  # that get no further than the one before


def worker_name() -> str:
    """Return what this process calls itself when it claims a job."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


class JobRow(Base):
    """One fine-tuning job. `state` is a `JobState`; `beat_at` is when its worker last reported.

    `attempts` counts how often it was begun or continued since it last got further.
    """

    __tablename__ = "fine_tune_jobs"
    __table_args__ = (
        # Two workers that claim at once: the database lets one of them have it.
        Index(
            "one_running_job_a_project",
            "project",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        # The number of a job that was forgotten is never another's.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(index=True)
    reasons: Mapped[list[str]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(index=True, default="waiting")
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str] = mapped_column(default="")
    beat_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel: Mapped[bool] = mapped_column(default=False)
    stage: Mapped[str] = mapped_column(default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    seconds_left: Mapped[float | None]
    result: Mapped[str] = mapped_column(default="")
    message: Mapped[str] = mapped_column(default="")
    version: Mapped[int | None]

    @property
    def is_silent(self) -> bool:
        """Whether it runs and nobody has heard of its worker for longer than a sound one needs."""
        if self.state != "running" or self.beat_at is None:
            return False
        return abs(now() - self.beat_at) > _LONGEST_SILENCE


@dataclass(frozen=True)
class Beat:
    """How far a running job is.

    Attributes:
        stage: what it does.
        done: how much of that.
        total: how much there is to do.
        seconds_left: for the whole job, None while nobody knows.
        got_further: whether it would be continued further on than it was this time.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None
    got_further: bool = False


class FineTuneJobs:
    """The jobs; safe to share between threads and processes."""

    def __init__(self, database: Database) -> None:
        """Open them, creating the table where it does not exist."""
        self._database = database
        database.create(JobRow)

    def request(self, project: str, reason: str) -> int:
        """Ask for a job; a job that already waits for this project is the one.

        It keeps the first ten reasons, and that there were others.

        Returns:
            The number of the job.
        """
        with self._database.write() as session:
            row = session.scalar(select(JobRow).where(*_waiting(project)))
            if row is None:
                row = JobRow(project=project, reasons=[])
                session.add(row)
            if reason not in row.reasons and len(row.reasons) <= _MOST_REASONS:
                is_told = len(row.reasons) < _MOST_REASONS
                row.reasons = [*row.reasons, reason if is_told else "and others"]
            session.flush()
            return row.id

    def claim(self, worker: str, job: int | None = None) -> JobRow | None:
        """Take the job that waits longest and whose project has none running.

        Args:
            worker: who takes it.
            job: take this one or none.

        Returns:
            The job, now running; None if there is none to take.
        """
        with self._database.write() as session:
            running = select(JobRow.project).where(JobRow.state == "running")
            rows = select(JobRow).where(JobRow.state == "waiting", JobRow.project.not_in(running))
            if job is not None:
                rows = rows.where(JobRow.id == job)
            row = session.scalars(rows.order_by(JobRow.id).limit(1)).first()
            if row is not None:
                row.state, row.worker, row.beat_at = "running", worker, now()
                row.started_at = row.started_at or now()
                row.attempts += 1
            return row

    def beat(self, job: int, worker: str, beat: Beat) -> None:
        """Renew a claim and say how far the job is.

        Raises:
            JobError: if the job was cancelled, or given to another worker meanwhile.
        """
        values = asdict(beat)
        if values.pop("got_further"):
            values["attempts"] = 1
        self._change(job, worker, beat_at=now(), **values)
        if self.get(job).cancel:
            raise JobError(f"job {job} was cancelled")

    def keep_claim(self, job: int, worker: str) -> bool:
        """Renew a claim where nobody has done so for a while, as when a job's process starts.

        Returns:
            Whether somebody cancelled the job.
        """
        with self._database.read() as session:
            row = session.get(JobRow, job)
        if row is None or row.beat_at is None:
            return False
        if abs(now() - row.beat_at) >= LEASE / 3:
            with contextlib.suppress(JobError):
                self._change(job, worker, beat_at=now())
        return row.cancel

    def finish(self, job: int, worker: str, result: str, message: str, version: int | None) -> None:
        """Note what became of a job.

        Raises:
            JobError: if the job was given to another worker meanwhile.
        """
        ended = {"state": "finished", "finished_at": now(), "seconds_left": None}
        self._change(job, worker, **ended, result=result, message=message, version=version)

    def fail(self, job: int, worker: str, message: str) -> None:
        """Note why a job cannot be done; a job that was cancelled is noted as that.

        Raises:
            JobError: if the job was given to another worker meanwhile.
        """
        with self._database.write() as session:
            row = _owned(session, job, worker)
            if not _end_if_cancelled(row):
                _end(row, "failed", message)

    def release(self, job: int, worker: str) -> None:
        """Give a running job back, to be continued by whoever claims it next.

        Raises:
            JobError: if the job was given to another worker meanwhile.
        """
        with self._database.write() as session:
            row = _owned(session, job, worker)
            if not _end_if_cancelled(row):
                row.state, row.attempts = "waiting", row.attempts - 1

    def cancel(self, job: int) -> None:
        """Cancel a job: at once if it waits; if it runs, when it next tells how far it is.

        Raises:
            JobError: if there is no such job, or it has ended.
        """
        with self._database.write() as session:
            row = session.get(JobRow, job) if job <= LARGEST_INTEGER else None
            if row is None or row.state not in UNFINISHED:
                raise JobError(f"job {job} is not waiting or running")
            row.cancel = True
            if row.state == "waiting":
                _end(row, "cancelled", "cancelled before it ran")

    def forget(self, project: str) -> list[JobRow]:
        """Delete the jobs of a project.

        Returns:
            What they were.

        Raises:
            JobError: if one of them runs.
        """
        theirs = JobRow.project == project
        with self._database.write() as session:
            jobs = list(session.scalars(select(JobRow).where(theirs)))
            for job in jobs:
                if job.state == "running":
                    raise JobError(f"job {job.id} of this project is running: cancel it first")
            session.execute(delete(JobRow).where(theirs))
            session.expunge_all()
        return jobs

    def recover(self, worker: str | None = None, cause: str = "", *, alive: str = "") -> list[int]:
        """Put the jobs of dead workers back into the queue; give up those that die where they did.

        Args:
            worker: is known to be dead; by default those that were silent for too long are.
            cause: what is known of why.
            alive: a worker that is known not to be dead, however silent: the machine slept.

        Returns:
            The jobs that were found.
        """
        died = JobRow.worker == worker
        if worker is None:
            # A time that lies ahead was noted before the clock was set back.
            died = or_(JobRow.beat_at < now() - LEASE, JobRow.beat_at > now() + LEASE)
        with self._database.write() as session:
            dead = select(JobRow).where(JobRow.state == "running", died, JobRow.worker != alive)
            rows = session.scalars(dead).all()
            for row in rows:
                if _end_if_cancelled(row):
                    continue
                if row.attempts < MOST_ATTEMPTS:
                    row.state = "waiting"
                else:
                    _end(row, "failed", _died(row, cause or "its worker died"))
            return [row.id for row in rows]

    def correct_moments(self) -> None:
        """Note of a job that began while the clock was ahead that it began a minute ago.

        Once that moment comes, the job would pass for knowing all that was accepted until then. A
        worker looks once a minute, so what was accepted since the clock was set back is new to it.
        """
        ahead = JobRow.started_at > latest_past()
        with self._database.read() as session:
            if session.scalar(select(JobRow.id).where(ahead).limit(1)) is None:
                return
        begun = update(JobRow).where(ahead)
        self._database.update(begun.values(started_at=now() - timedelta(minutes=1)))

    def get(self, job: int) -> JobRow:
        """Return a job.

        Raises:
            JobError: if there is no such job.
        """
        with self._database.read() as session:
            row = session.get(JobRow, job) if job <= LARGEST_INTEGER else None
        if row is None:
            raise JobError(f"there is no job {job}")
        return row

    def of_project(
        self, project: str, limit: int | None = 50, before: int | None = None
    ) -> Sequence[JobRow]:
        """Return the jobs of a project, newest first; of numbers below `before` alone."""
        rows = select(JobRow).where(*_below(project, before)).order_by(JobRow.id.desc())
        with self._database.read() as session:
            return session.scalars(rows.limit(limit)).all()

    def count(self, project: str, before: int | None = None) -> int:
        """Return how many jobs of a project there are, of numbers below `before` alone."""
        with self._database.read() as session:
            return session.scalars(select(func.count()).where(*_below(project, before))).one()

    def unfinished(self) -> Sequence[JobRow]:
        """Return the jobs of all projects that wait or run, the oldest first."""
        rows = select(JobRow).where(JobRow.state.in_(UNFINISHED))
        with self._database.read() as session:
            return session.scalars(rows.order_by(JobRow.id)).all()

    def failed_last(self) -> Sequence[JobRow]:
        """Return the job of each project that failed and that none has followed.

        A job follows that waits or runs, or a later one that ended, unless it was cancelled before
        the other failed: whoever cancelled it afterwards has seen what it was to make up for.
        """
        busy = select(JobRow.project).where(JobRow.state.in_(UNFINISHED))
        newest = select(func.max(JobRow.id)).where(JobRow.state != "cancelled")
        later = aliased(JobRow)  # than the newest: those are cancelled ones
        is_seen = exists().where(
            later.project == JobRow.project,
            later.id > JobRow.id,
            later.finished_at > JobRow.finished_at,
        )
        rows = select(JobRow).where(
            JobRow.id.in_(newest.group_by(JobRow.project)),
            JobRow.state == "failed",
            JobRow.project.not_in(busy),
            ~is_seen,
        )
        with self._database.read() as session:
            return session.scalars(rows).all()

    def _change(self, job: int, worker: str, **values: object) -> None:
        """Change a running job; in one statement, for the job's own process is slow."""
        rows = update(JobRow).where(*_is_owned(job, worker))
        if not self._database.update(rows.values(**values)):
            raise JobError(f"job {job} is no longer this worker's")


def _waiting(project: str) -> tuple[ColumnElement[bool], ...]:
    return JobRow.state == "waiting", JobRow.project == project


def _below(project: str, before: int | None) -> list[ColumnElement[bool]]:
    return [JobRow.project == project, *([] if before is None else [JobRow.id < before])]


def _is_owned(job: int, worker: str) -> tuple[ColumnElement[bool], ...]:
    return JobRow.id == job, JobRow.state == "running", JobRow.worker == worker


def _owned(session: Session, job: int, worker: str) -> JobRow:
    row = session.scalar(select(JobRow).where(*_is_owned(job, worker)))
    if row is None:
        raise JobError(f"job {job} is no longer this worker's")
    return row


def _end_if_cancelled(row: JobRow) -> bool:
    """End a running job that somebody cancelled; say whether that was so."""
    if row.cancel:
        _end(row, "cancelled", "cancelled while it ran")
    return row.cancel


def _end(row: JobRow, state: JobState, message: str) -> None:
    row.state, row.message, row.finished_at = state, message, now()
    row.seconds_left = None


def _died(row: JobRow, cause: str) -> str:
    return (
        f"it was cut off {row.attempts} times before it got any further, the last time while "
        f"{row.stage or 'starting'} ({row.done} of {row.total}): {cause}; see the log"
    )
