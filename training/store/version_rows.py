"""The tables of model versions and of what was live when."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, ForeignKey, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from training.errors import VersionError
from training.store.database import LARGEST_INTEGER, Base, UtcDateTime

Move = Literal["promote", "rollback", "pin", "unpin"]


class VersionRow(Base):
    """One immutable model version.

    `origin` says what made it, once: publishing twice is once. `stem` is what its name begins
    with; empty for "v" and the number. `weights` and `description` are keys of stored files, empty
    once those were given up.
    """

    __tablename__ = "versions"
    # The number of a version that was forgotten is never another's.
    __table_args__ = ({"sqlite_autoincrement": True},)

    number: Mapped[int] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(unique=True)
    stem: Mapped[str]
    project: Mapped[str | None] = mapped_column(index=True)
    parent: Mapped[int | None] = mapped_column(ForeignKey("versions.number"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    weights: Mapped[str]
    description: Mapped[str]
    weights_sha256: Mapped[str]
    description_sha256: Mapped[str]
    data_fingerprint: Mapped[str | None]
    recipe: Mapped[dict[str, Any]] = mapped_column(JSON)
    scores: Mapped[dict[str, Any]] = mapped_column(JSON)
    verdict: Mapped[str]
    reasons: Mapped[list[str]] = mapped_column(JSON)
    report: Mapped[str | None]

    @property
    def is_swept(self) -> bool:
        """Whether only the story is left."""
        return not self.weights

    @property
    def swept_sentence(self) -> str:
        """Why a version that was swept cannot be made live."""
        return f"version {self.number} cannot be served: its weights were deleted by sweep"


class VersionAnswerRow(Base):
    """What a person answered where the gate left the decision to people."""

    __tablename__ = "version_answers"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(ForeignKey("versions.number"), index=True)
    answer: Mapped[str]
    by: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class LiveMoveRow(Base):
    """One move of a live pointer; the newest row of a project is where it points.

    Rows are only added, and deleted with their project. The key makes two movers at once collide
    instead of overwriting each other. `version` is None where the project follows the site.
    """

    __tablename__ = "live_moves"

    project: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    move: Mapped[str]
    version: Mapped[int | None] = mapped_column(ForeignKey("versions.number"))
    pinned: Mapped[bool]
    by: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcDateTime)


def give_up_weights(session: Session, numbers: Collection[int]) -> None:
    """Note that these versions can be served no more; `sweep` deletes their files."""
    rows = update(VersionRow).where(VersionRow.number.in_(numbers))
    session.execute(rows.values(weights="", description=""))


def find_version(session: Session, number: int) -> VersionRow:
    """Return a version.

    Raises:
        VersionError: if there is no such version.
    """
    row = session.get(VersionRow, number) if abs(number) <= LARGEST_INTEGER else None
    if row is None:
        raise VersionError(f"there is no version {number}")
    return row
