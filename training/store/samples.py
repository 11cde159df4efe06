"""The store of accepted samples: content-addressed files and rows that point at them.

Messages about an annotation may come twice, late, out of order, or not at all. Each carries
Label Studio's own time of the change, the newest wins, a deletion beats every change, and an
unchanged sample keeps its row; so any order of the same messages leaves the same store. A listing
of Label Studio is not a message but the truth: what it shows replaces even what is newer here, as
after Label Studio was restored from a backup, unless that was stored after the listing began.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from training.moments import latest_past, now
from training.store.database import Database
from training.store.object_mask import AcceptedObject
from training.store.sample_files import SampleFiles
from training.store.sample_rows import (
    AnnotationRow,
    AnnotationStatus,
    DeletedTaskRow,
    SampleRow,
    usable_samples,
)
from training.store.split import split_of
from training.store.stored_files import StoredFiles

_PORTION = 500


@dataclass(frozen=True)
class Annotation:
    """What one message says about one annotation.

    Attributes:
        project: Label Studio's ``<id>.<created_at>``, unique also over re-installed servers.
        annotation: Label Studio's annotation id.
        task: Label Studio's task id.
        updated_at: when Label Studio last changed the annotation.
        status: what became of it.
        image: (H, W, 3) uint8 RGB, upright; None where there is no object.
        objects: what was accepted.
        labels_without_mask: labels that somebody asked a mask for that was not saved; a note says
            so.
        notes: sentences for people about what was left out.
    """

    project: str
    annotation: int
    task: int
    updated_at: datetime
    status: AnnotationStatus
    image: NDArray[np.uint8] | None = None
    objects: tuple[AcceptedObject, ...] = ()
    labels_without_mask: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# An accepted object, and the hashes of its image and mask, which are on disk.
_Stored = tuple[AcceptedObject, str, str]


class SampleStore:
    """Writes what annotators accept; safe to share between threads and processes."""

    def __init__(self, database: Database, files: StoredFiles) -> None:
        """Open the store, creating its tables where they do not exist."""
        self._database = database
        self._files = SampleFiles(files)
        database.create(AnnotationRow, SampleRow, DeletedTaskRow)

    def wants(self, annotation: Annotation, listed_at: datetime | None = None) -> bool:
        """Return whether `replace` would change the store; objects and status do not matter."""
        with self._database.read() as session:
            return _wants(session, annotation, listed_at)

    def replace(self, annotation: Annotation, listed_at: datetime | None = None) -> bool:
        """Make the store hold exactly this state of the annotation, unless it knows a newer one.

        Images and masks that the annotation has already are not stored again: a hundred masks of a
        large image take many seconds. Where they were set aside as damaged, they are.

        Args:
            annotation: the state.
            listed_at: when the listing began that shows this state; None for a message.

        Returns:
            Whether the store changed.
        """
        stored = self._store_files(annotation)
        with self._database.write() as session:
            if not _wants(session, annotation, listed_at):
                return False
            known = session.get(AnnotationRow, (annotation.project, annotation.annotation))
            is_known = known is not None and known.updated_at == annotation.updated_at
            session.merge(_row_of(annotation))
            session.flush()
            # What was set aside is not lost because its image cannot be fetched again either.
            if annotation.status != "unreadable" or not is_known:
                _replace_samples(session, annotation, stored)
            return True

    def relabel(
        self, annotation: Annotation, labels: Mapping[str, str], listed_at: datetime
    ) -> None:
        """Give the objects of an annotation the labels that a listing shows.

        Label Studio renames labels without changing when an annotation was updated.

        Args:
            annotation: whose objects, of which nothing else has changed.
            labels: of its regions, by their ids.
            listed_at: when the listing began.
        """
        key = annotation.project, annotation.annotation
        theirs = SampleRow.project == key[0], SampleRow.annotation == key[1]
        with self._database.read() as session:
            rows = session.scalars(select(SampleRow).where(*theirs)).all()
        # An object of several regions has the label of the first.
        shown = {row.id: labels.get(row.region.partition("+")[0], row.label) for row in rows}
        if all(row.label == shown[row.id] for row in rows):
            return
        with self._database.write() as session:
            known = session.get(AnnotationRow, key)
            if known is not None and known.stored_at < listed_at:
                for row in session.scalars(select(SampleRow).where(*theirs)):
                    row.label = shown.get(row.id, row.label)

    def withdraw(self, project: str, annotations: Collection[int]) -> None:
        """Forget annotations that Label Studio deleted, and remember that they are gone."""
        for some in _portions(annotations):
            with self._database.write() as session:
                _withdraw(session, project, some)

    def withdraw_tasks(self, project: str, tasks: Collection[int]) -> None:
        """Forget every annotation of tasks that Label Studio deleted."""
        deleted, known = DeletedTaskRow, AnnotationRow
        for some in _portions(tasks):
            rows = [{"project": project, "task": task, "stored_at": now()} for task in some]
            theirs = select(known.annotation).where(known.project == project, known.task.in_(some))
            with self._database.write() as session:
                session.execute(
                    delete(deleted).where(deleted.project == project, deleted.task.in_(some))
                )
                session.execute(insert(deleted), rows)
                _withdraw(session, project, session.scalars(theirs).all())

    def correct_moments(self) -> None:
        """Note as stored now what was stored while the clock was ahead.

        It would count as newer than every job and every listing until that moment comes.
        """
        tables, latest = (AnnotationRow, SampleRow, DeletedTaskRow), latest_past()
        with self._database.read() as session:
            ahead = [select(table.stored_at).where(table.stored_at > latest) for table in tables]
            if all(session.scalar(rows.limit(1)) is None for rows in ahead):
                return
        with self._database.write() as session:
            for table in tables:
                is_ahead = table.stored_at > latest
                session.execute(update(table).where(is_ahead).values(stored_at=now()))

    def projects(self) -> set[str]:
        """Return the keys of all projects of which anything is known."""
        with self._database.read() as session:
            columns = AnnotationRow.project, DeletedTaskRow.project
            return {key for column in columns for key in session.scalars(select(column).distinct())}

    def forget(self, project: str) -> None:
        """Delete everything that is known of a project's annotations."""
        with self._database.write() as session:
            for table in (SampleRow, AnnotationRow, DeletedTaskRow):
                session.execute(delete(table).where(table.project == project))

    def forget_deletions(self, project: str, listed: dict[int, int], listed_at: datetime) -> None:
        """Forget deletions that Label Studio, which is the truth, contradicts.

        After that `replace` takes the annotations back. What happened after the listing began is
        left alone: the listing cannot know it.

        Args:
            project: the listed project.
            listed: annotation ids that exist, each with its task.
            listed_at: when the listing began.
        """
        with self._database.write() as session:
            for task in set(listed.values()):
                deleted = session.get(DeletedTaskRow, (project, task))
                if deleted is not None and deleted.stored_at < listed_at:
                    session.delete(deleted)
            for annotation in listed:
                row = session.get(AnnotationRow, (project, annotation))
                if row is not None and row.status == "deleted" and row.stored_at < listed_at:
                    session.delete(row)

    def unlisted(
        self, project: str, listed: Collection[int], listed_at: datetime
    ) -> dict[int, set[int]]:
        """Return what is stored and not in a listing of Label Studio: gone, perhaps.

        Args:
            project: the listed project.
            listed: the annotation ids of the listing; skipped ones may be missing.
            listed_at: when the listing began.

        Returns:
            Tasks, each with its annotations that were not listed.
        """
        rows = select(AnnotationRow.task, AnnotationRow.annotation).where(
            AnnotationRow.project == project,
            AnnotationRow.status.not_in(("deleted", "skipped")),
            AnnotationRow.stored_at < listed_at,
        )
        missing: dict[int, set[int]] = {}
        with self._database.read() as session:
            for task, annotation in session.execute(rows):
                if task is not None and annotation not in listed:
                    missing.setdefault(task, set()).add(annotation)
        return missing

    def unreadable(self, project: str) -> list[int]:
        """Return the annotations that could not be read, the one last tried longest ago first."""
        query = select(AnnotationRow.annotation).where(
            AnnotationRow.project == project, AnnotationRow.status == "unreadable"
        )
        with self._database.read() as session:
            return list(session.scalars(query.order_by(AnnotationRow.stored_at)))

    def _store_files(self, annotation: Annotation) -> list[_Stored]:
        if annotation.image is None or not annotation.objects:
            return []
        there = self._files_of(annotation)
        image = self._files.write_image(annotation.image, there)
        return [
            (accepted, image, self._files.write_mask(accepted.mask.full(), there))
            for accepted in annotation.objects
        ]

    def _files_of(self, annotation: Annotation) -> set[str]:
        """Return the hashes of the files of an annotation that nobody has found damaged."""
        query = usable_samples(annotation.project, SampleRow.image, SampleRow.mask)
        query = query.where(SampleRow.annotation == annotation.annotation)
        with self._database.read() as session:
            return {content_hash for row in session.execute(query) for content_hash in row}


def _wants(session: Session, annotation: Annotation, listed_at: datetime | None) -> bool:
    if session.get(DeletedTaskRow, (annotation.project, annotation.task)) is not None:
        return False
    known = session.get(AnnotationRow, (annotation.project, annotation.annotation))
    if known is None:
        return True
    if known.status == "deleted" or known.updated_at is None:
        return False
    if annotation.updated_at == known.updated_at:
        return known.status == "unreadable"
    is_truth = listed_at is not None and known.stored_at < listed_at
    return is_truth or annotation.updated_at > known.updated_at


def _row_of(annotation: Annotation) -> AnnotationRow:
    return AnnotationRow(
        project=annotation.project,
        annotation=annotation.annotation,
        task=annotation.task,
        updated_at=annotation.updated_at,
        stored_at=now(),
        status=annotation.status,
        labels_without_mask=list(annotation.labels_without_mask),
        notes=list(annotation.notes),
    )


def _replace_samples(session: Session, annotation: Annotation, stored: Sequence[_Stored]) -> None:
    """Delete the samples that are gone and add the new ones; the others keep row and time."""
    rows = session.scalars(
        select(SampleRow).where(
            SampleRow.project == annotation.project,
            SampleRow.annotation == annotation.annotation,
        )
    ).all()
    wanted = {(it.region, it.label, image, mask): (it, image, mask) for it, image, mask in stored}
    for row in rows:
        if wanted.pop((row.region, row.label, row.image, row.mask), None) is None:
            session.delete(row)
    session.add_all(_sample_row(annotation, *item) for item in wanted.values())


def _sample_row(
    annotation: Annotation, accepted: AcceptedObject, image: str, mask: str
) -> SampleRow:
    return SampleRow(
        project=annotation.project,
        annotation=annotation.annotation,
        region=accepted.region,
        label=accepted.label,
        image=image,
        mask=mask,
        split=split_of(image),
        accepted_at=annotation.updated_at,
        stored_at=now(),
    )


def _portions(numbers: Collection[int]) -> Iterator[list[int]]:
    """Split what may be tens of thousands: nobody else can write while one portion is written."""
    different = sorted(set(numbers))
    for start in range(0, len(different), _PORTION):
        yield different[start : start + _PORTION]


def _withdraw(session: Session, project: str, annotations: Sequence[int]) -> None:
    known, samples = AnnotationRow, SampleRow
    state = {"status": "deleted", "stored_at": now(), "labels_without_mask": [], "notes": []}
    theirs = known.project == project, known.annotation.in_(annotations)
    session.execute(
        delete(samples).where(samples.project == project, samples.annotation.in_(annotations))
    )
    session.execute(update(known).where(*theirs).values(state))
    missing = set(annotations) - set(session.scalars(select(known.annotation).where(*theirs)))
    session.add_all(known(project=project, annotation=number, **state) for number in missing)
