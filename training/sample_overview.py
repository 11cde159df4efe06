"""What a project has accepted so far, in numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from training.database import Database
from training.sample_rows import AnnotationRow, SampleRow, usable_samples


@dataclass(frozen=True)
class NewSamples:
    """Samples stored since some moment: how many, and when the oldest and the newest were."""

    count: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class SampleOverview:
    """The samples of a project.

    Attributes:
        samples: number of accepted objects.
        images: number of different images they are on.
        by_split: samples on each side of the split.
        by_label: samples of each label, the most frequent first.
        growth: (moment, samples accepted up to then), minutes with news only.
    """

    samples: int
    images: int
    by_split: dict[str, int]
    by_label: dict[str, int]
    growth: tuple[tuple[datetime, int], ...]


def new_samples(database: Database, project: str, since: datetime | None) -> NewSamples:
    """Count what was stored after a moment; None counts everything."""
    stored = SampleRow.stored_at
    query = usable_samples(project, func.count(), func.min(stored), func.max(stored))
    if since is not None:
        query = query.where(stored > since)
    with database.read() as session:
        return NewSamples(*session.execute(query).one())


def sample_overview(database: Database, project: str) -> SampleOverview:
    """Return the numbers of a project."""
    columns = (SampleRow.image, SampleRow.split, SampleRow.label, SampleRow.accepted_at)
    with database.read() as session:
        rows = session.execute(usable_samples(project, *columns)).all()
    minutes = Counter(row.accepted_at.replace(second=0, microsecond=0) for row in rows)
    total, growth = 0, []
    for minute in sorted(minutes):
        total += minutes[minute]
        growth.append((minute, total))
    return SampleOverview(
        samples=len(rows),
        images=len({row.image for row in rows}),
        by_split=dict(Counter(row.split for row in rows)),
        by_label=dict(Counter(row.label for row in rows).most_common()),
        growth=tuple(growth),
    )


def noteworthy_annotations(
    database: Database, project: str, limit: int = 200
) -> Sequence[AnnotationRow]:
    """Return annotations that people should look at, the newest first of each kind.

    Those saved with clicks but without their mask, and those that could not be read; then those of
    which something was left out.
    """
    query = (
        select(AnnotationRow)
        .where(AnnotationRow.project == project, AnnotationRow.status != "deleted")
        .order_by(AnnotationRow.updated_at.desc())
    )
    with database.read() as session:
        rows = [row for row in session.scalars(query) if row.labels_without_mask or row.notes]
    rows.sort(key=lambda row: not row.labels_without_mask and row.status != "unreadable")
    return rows[:limit]
