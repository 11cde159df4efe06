"""Deletes stored files that nothing refers to any more.

Withdrawn samples, forgotten projects and killed processes leave files behind; jobs leave versions
that nobody will ask for. Only a person knows when they may go, so this is done when asked for.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from training.errors import FileStoreError
from training.moments import now
from training.store.database import Database
from training.store.installation import require_own_files
from training.store.live_pointer import in_use
from training.store.sample_files import image_key, mask_key
from training.store.sample_rows import SampleRow
from training.store.stores import Stores
from training.store.version_decisions import open_decisions
from training.store.version_files import VERSIONS
from training.store.version_reports import sample_images, take_out_withdrawn
from training.store.version_rows import VersionRow, give_up_weights
from training.written_numbers import counted

FOLDERS = ("images", "masks", "reports", VERSIONS)
YOUNG = timedelta(hours=1)  # what refers to a file is written after it


@dataclass(frozen=True)
class Swept:
    """How many files were deleted, and how many more are too young for that."""

    deleted: int
    young: int


def sweep(stores: Stores, newest_versions: int | None = None) -> Swept:
    """Delete the files that no sample and no version needs and that are older than an hour.

    Reports that show images of withdrawn samples are written anew, without them.

    Args:
        stores: where they are.
        newest_versions: of how many versions of each project the weights stay, besides those that
            are live or would be after a rollback, those that wait for a decision, and those of no
            project; None for all.

    Raises:
        FileStoreError: if files cannot be listed or deleted, or are not this installation's; or,
            once all that can go is gone, if a report could not be read or written anew.
        DatabaseError: if the database is away.
    """
    require_own_files(stores.database, stores.files)
    oldest_young = now() - YOUNG
    # In this order: what is stored meanwhile is not among the files, or young.
    found = [key for folder in FOLDERS for key in stores.files.keys(folder)]
    problems = take_out_withdrawn(stores, found)
    if newest_versions is not None:
        _give_up_old_weights(stores.database, newest_versions)
    needed = _of_samples(stores.database) | _of_versions(stores.database)
    spare = [key for key in found if key not in needed]
    deleted = sum(stores.files.delete_older(key, oldest_young) for key in spare)
    if problems:
        raise FileStoreError(
            f"{counted(deleted, 'file')} deleted, but {counted(len(problems), 'report')} may still "
            f"show withdrawn images: sweep again once this is mended: {problems[0]}"
        ) from problems[0]
    return Swept(deleted, len(spare) - deleted)


def _give_up_old_weights(database: Database, newest: int) -> None:
    """Note which versions lose their weights, before they do: nobody makes one live meanwhile."""
    counted, spare = Counter[str | None](), []
    rows = select(VersionRow.number, VersionRow.project).where(VersionRow.project.is_not(None))
    with database.write() as session:
        stay = in_use(session) | open_decisions(session).waiting.keys()
        for number, project in session.execute(rows.order_by(VersionRow.number.desc())):
            counted[project] += 1
            if counted[project] > newest and number not in stay:
                spare.append(number)
        give_up_weights(session, spare)


def _of_versions(database: Database) -> set[str]:
    columns = VersionRow.weights, VersionRow.description, VersionRow.report
    with database.read() as session:
        return {key for row in session.execute(select(*columns)) for key in row if key}


def _of_samples(database: Database) -> set[str]:
    with database.read() as session:
        masks = set(session.scalars(select(SampleRow.mask).distinct()))
    return {image_key(image) for image in sample_images(database)} | {
        mask_key(mask) for mask in masks
    }
