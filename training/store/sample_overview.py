"""What a project has accepted so far, in numbers.

The database counts: pages ask for them again and again, beside clicks, in a process that runs one
thread of Python at a time, and a project may have a hundred thousand samples.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, groupby, islice

from sqlalchemy import BigInteger, ColumnElement, Text, cast, extract, func, not_, or_, select
from sqlalchemy.orm import Session

from training.store.database import Database
from training.store.sample_rows import AnnotationRow, SampleRow, usable_samples

MOST_STEPS = 300
_TASKS = 5  # of each kind of what was left out
_LEAST_STEP_SECONDS = 60


@dataclass(frozen=True)
class NewSamples:
    """Samples stored since some moment: how many, and when the oldest and the newest were."""

    count: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class SampleCounts:
    """The samples of a project.

    Attributes:
        samples: number of accepted objects.
        images: number of different images they are on.
        by_split: samples on each side of the split.
        by_label: samples of each label, the most frequent first.
    """

    samples: int
    images: int
    by_split: dict[str, int]
    by_label: dict[str, int]


@dataclass(frozen=True)
class LeftOut:
    """What was left out of annotations, in the same words: how many, and some of their tasks."""

    notes: list[str]
    annotations: int
    tasks: list[int | None]


@dataclass(frozen=True)
class Noteworthy:
    """Annotations that people should look at.

    Attributes:
        urgent: the first of those whose mask was lost, or that could not be read.
        more_urgent: how many more there are.
        left_out: what was left out of others, said once however many there are.
        more_left_out: of how many more annotations something was left out.
    """

    urgent: Sequence[AnnotationRow]
    more_urgent: int
    left_out: Sequence[LeftOut]
    more_left_out: int


def new_samples(database: Database, project: str, since: datetime | None) -> NewSamples:
    """Count what was stored after a moment; None counts everything."""
    stored = SampleRow.stored_at
    query = usable_samples(project, func.count(), func.min(stored), func.max(stored))
    if since is not None:
        query = query.where(stored > since)
    with database.read() as session:
        return NewSamples(*session.execute(query).one())


def has_changed(database: Database, project: str, since: datetime) -> bool:
    """Return whether an annotation was stored, changed or withdrawn after a moment."""
    rows = select(AnnotationRow.annotation).where(
        AnnotationRow.project == project, AnnotationRow.stored_at > since
    )
    with database.read() as session:
        return session.scalar(rows.limit(1)) is not None


def sample_counts(database: Database, project: str) -> SampleCounts:
    """Return the numbers of a project."""
    kind = SampleRow.label, SampleRow.split
    images = usable_samples(project, func.count(SampleRow.image.distinct()))
    by_label, by_split = Counter[str](), Counter[str]()
    with database.read() as session:
        different = session.scalars(images).one()
        for label, split, count in session.execute(
            usable_samples(project, *kind, func.count()).group_by(*kind)
        ):
            by_label[label] += count
            by_split[split] += count
    return SampleCounts(
        samples=by_split.total(),
        images=different,
        by_split=dict(by_split),
        by_label=dict(by_label.most_common()),
    )


def sample_growth(database: Database, project: str) -> list[tuple[datetime, int]]:
    """Return how a project's samples became more.

    Returns:
        (moment, samples accepted up to then), in order: the last sample of each minute, or of each
        longer step where there would be more than `MOST_STEPS` and one.
    """
    accepted = SampleRow.accepted_at
    newest = func.max(accepted)
    with database.read() as session:
        begin, end = session.execute(usable_samples(project, func.min(accepted), newest)).one()
        if begin is None:
            return []
        step = math.ceil((end - begin).total_seconds() / MOST_STEPS)
        number = cast(extract("epoch", accepted), BigInteger) // max(step, _LEAST_STEP_SECONDS)
        steps = session.execute(
            usable_samples(project, newest, func.count()).group_by(number).order_by(newest)
        ).all()
    totals = accumulate(count for _, count in steps)
    return [(moment, total) for (moment, _), total in zip(steps, totals, strict=True)]


def noteworthy_annotations(
    database: Database, project: str, limit: int = 200, kinds: int = 50
) -> Noteworthy:
    """Return annotations that people should look at, the newest first.

    Args:
        database: where they are.
        project: whose they are.
        limit: how many of those to return that people must do something about.
        kinds: how many kinds of what was left out of others.
    """
    row = AnnotationRow
    lacks_mask = func.json_array_length(row.labels_without_mask) > 0
    where = row.project == project, row.status != "deleted"
    is_urgent = or_(lacks_mask, row.status == "unreadable")
    told = *where, not_(is_urgent), func.json_array_length(row.notes) > 0
    urgent = select(row).where(*where, is_urgent).order_by(row.updated_at.desc()).limit(limit)
    with database.read() as session:
        first = session.scalars(urgent).all()
        number = session.scalars(select(func.count()).where(*where, is_urgent)).one()
        number_told = session.scalars(select(func.count()).where(*told)).one()
        left_out = _left_out(session, told, kinds)
    more = number_told - sum(kind.annotations for kind in left_out)
    return Noteworthy(first, number - len(first), left_out, more)


def _left_out(session: Session, where: Sequence[ColumnElement[bool]], kinds: int) -> list[LeftOut]:
    """Return what annotations were told of alike, the newest first."""
    same = cast(AnnotationRow.notes, Text)
    newest_first = AnnotationRow.updated_at.desc()
    numbered = (
        select(
            same.label("notes"),
            AnnotationRow.task,
            func.count().over(partition_by=same).label("annotations"),
            func.max(AnnotationRow.updated_at).over(partition_by=same).label("newest"),
            func.row_number().over(partition_by=same, order_by=newest_first).label("place"),
        )
        .where(*where)
        .subquery()
    )
    order = numbered.c.newest.desc(), numbered.c.notes, numbered.c.place
    rows = select(numbered).where(numbered.c.place <= _TASKS).order_by(*order)
    found = session.execute(rows.limit(kinds * _TASKS)).all()
    alike = (list(some) for _, some in groupby(found, key=lambda row: row.notes))
    return [
        LeftOut(json.loads(some[0].notes), some[0].annotations, [row.task for row in some])
        for some in islice(alike, kinds)
    ]
