"""The tables of accepted annotations and of the samples taken from them."""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, ForeignKeyConstraint, Index, Select, select
from sqlalchemy.orm import Mapped, mapped_column

from training.store.database import Base, UtcDateTime

AnnotationStatus = Literal[
    "accepted",  # it holds at least one mask
    "empty",  # saved without a mask
    "skipped",  # the annotator skipped the task
    "unreadable",  # its image or its masks could not be read
    "deleted",  # kept as a row, so that an older message cannot bring it back
]


class AnnotationRow(Base):
    """The newest known state of one Label Studio annotation.

    `updated_at` is Label Studio's clock and orders messages about the same annotation; it is
    None where the first message was the deletion. `stored_at` is our clock. `status` is an
    `AnnotationStatus`.
    """

    __tablename__ = "annotations"

    project: Mapped[str] = mapped_column(primary_key=True)
    annotation: Mapped[int] = mapped_column(primary_key=True)
    task: Mapped[int | None] = mapped_column(index=True)
    updated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stored_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[str]
    labels_without_mask: Mapped[list[str]] = mapped_column(JSON, default=list)
    notes: Mapped[list[str]] = mapped_column(JSON, default=list)


class SampleRow(Base):
    """One accepted object. `image` and `mask` are content hashes of stored files."""

    __tablename__ = "samples"
    __table_args__ = (
        ForeignKeyConstraint(
            ["project", "annotation"], ["annotations.project", "annotations.annotation"]
        ),
        Index("samples_of_annotation", "project", "annotation"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str]
    annotation: Mapped[int]
    region: Mapped[str]
    label: Mapped[str]
    image: Mapped[str]
    mask: Mapped[str]
    split: Mapped[str]
    accepted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    stored_at: Mapped[datetime] = mapped_column(UtcDateTime)


def usable_samples(project: str, *columns: Any) -> Select[Any]:
    """Select columns of a project's samples, without those whose files were damaged or lost."""
    query = select(*columns).join_from(SampleRow, AnnotationRow)
    return query.where(SampleRow.project == project, AnnotationRow.status == "accepted")


class DeletedTaskRow(Base):
    """A task that Label Studio deleted: its annotations are gone, late messages or not."""

    __tablename__ = "deleted_tasks"

    project: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[int] = mapped_column(primary_key=True)
    stored_at: Mapped[datetime] = mapped_column(UtcDateTime)
