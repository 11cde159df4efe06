"""Deletes stored files that nothing refers to any more.

Withdrawn samples, forgotten projects and killed processes leave files behind; jobs leave versions
that nobody will ask for. Only a person knows when they may go, so this is done when asked for.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from training.database import Database, now
from training.sample_files import image_key, mask_key
from training.sample_rows import SampleRow
from training.stores import Stores

FOLDERS = ("images", "masks", "reports", "versions")
YOUNG = timedelta(hours=1)  # what refers to a file is written after it


@dataclass(frozen=True)
class Swept:
    """How many files were deleted, and how many more are too young for that."""

    deleted: int
    young: int


def sweep(stores: Stores, newest_versions: int | None = None) -> Swept:
    """Delete the files that no sample and no version needs and that are older than an hour.

    Args:
        stores: where they are.
        newest_versions: of how many versions of each project the weights stay, besides those that
            were ever live and those of no project; None for all.

    Raises:
        FileStoreError: if files cannot be listed or deleted.
        DatabaseError: if the database is away.
    """
    oldest_young = now() - YOUNG
    # In this order: what is stored meanwhile is not among the files, or young.
    found = [key for folder in FOLDERS for key in stores.files.keys(folder)]
    needed = _of_samples(stores.database) | stores.versions.needed_files(newest_versions)
    spare = [key for key in found if key not in needed]
    deleted = sum(stores.files.delete_older(key, oldest_young) for key in spare)
    return Swept(deleted, len(spare) - deleted)


def _of_samples(database: Database) -> set[str]:
    with database.read() as session:
        images = set(session.scalars(select(SampleRow.image).distinct()))
        masks = set(session.scalars(select(SampleRow.mask).distinct()))
    return {image_key(image) for image in images} | {mask_key(mask) for mask in masks}
