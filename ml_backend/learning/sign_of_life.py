"""When a worker was last here: nobody would notice otherwise that none is."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Mapped, mapped_column

from training.moments import now
from training.store.database import Base, Database, UtcDateTime

# A worker gives a sign every minute.
_LONGEST_SILENCE = timedelta(minutes=5)


class SignRow(Base):
    """The last sign of life of any worker: one row."""

    __tablename__ = "sign_of_life"

    id: Mapped[int] = mapped_column(primary_key=True)
    given_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SignOfLife:
    """What workers give and pages look for; safe to share between threads and processes."""

    def __init__(self, database: Database) -> None:
        """Open it, creating the table where it does not exist."""
        self._database = database
        database.create(SignRow)

    def give(self) -> None:
        """Note that a worker is here."""
        with self._database.write() as session:
            session.merge(SignRow(id=1, given_at=now()))

    def seen_at(self) -> datetime | None:
        """Return when a worker was last here, None if none ever was."""
        with self._database.read() as session:
            row = session.get(SignRow, 1)
            return None if row is None else row.given_at


def is_here(seen_at: datetime | None) -> bool:
    """Say whether a worker is here that was last seen then; None if none ever was."""
    # A time that lies ahead was noted before the clock was set back.
    return seen_at is not None and abs(now() - seen_at) < _LONGEST_SILENCE


def missing_worker(seen_at: datetime | None) -> str:
    """Say that a worker is missing for which something waits; `seen_at` as of `is_here`."""
    if seen_at is None:
        return (
            "No worker has run yet, so nothing is learned from what was accepted: start one with "
            "python -m ml_backend work."
        )
    return (
        f"The worker has not been seen since {seen_at:%Y-%m-%d %H:%M} UTC, and something waits for "
        "it: start it with python -m ml_backend work, or see in its log what it waits for."
    )
