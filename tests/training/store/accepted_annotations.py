"""Annotations of small photos, and what a store holds of them."""

from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import select

from training.store.object_mask import AcceptedObject, ObjectMask
from training.store.sample_rows import AnnotationRow, SampleRow
from training.store.samples import Annotation

START = datetime(2026, 11, 22, 6, tzinfo=UTC)
PROJECT = "2.1795327560"


def photo(number):
    return np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)


def square(left):
    mask = np.zeros((12, 16), dtype=bool)
    mask[3:8, left : left + 4] = True
    return ObjectMask.of(mask)


def accepted(annotation=4, minute=0, lefts=(2,), image=1, label="Object"):
    return Annotation(
        project=PROJECT,
        annotation=annotation,
        task=annotation + 100,
        updated_at=START + timedelta(minutes=minute),
        status="accepted" if lefts else "empty",
        image=photo(image) if lefts else None,
        objects=tuple(AcceptedObject(f"r{left}", label, square(left)) for left in lefts),
    )


def contents(database, project=PROJECT):
    """What the store holds, without row numbers and the times at which rows were written."""
    with database.read() as session:
        samples = [
            (row.annotation, row.region, row.label, row.image, row.mask, row.split)
            for row in session.scalars(select(SampleRow).where(SampleRow.project == project))
        ]
        annotations = [
            (row.annotation, row.status, row.updated_at)
            for row in session.scalars(
                select(AnnotationRow).where(AnnotationRow.project == project)
            )
            if row.status != "deleted"
        ]
    return sorted(samples), sorted(annotations)


def row_ids(database):
    with database.read() as session:
        return {row.region: row.id for row in session.scalars(select(SampleRow))}
