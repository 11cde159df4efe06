"""The stored reports of versions, and which accepted images they show.

Their pairs of pictures are named as the objects are, by image and mask. Images that are no sample's
any more, of no project, are to be seen no longer: a report is stored without them, and `sweep`
writes those anew that were stored before.
"""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import select, update

from training.errors import FileStoreError, StoredFileError
from training.object_names import image_of
from training.store.database import Database
from training.store.sample_rows import SampleRow
from training.store.stored_files import StoredFiles
from training.store.stores import Stores
from training.store.version_rows import VersionRow

_PAIRS = ("improved", "worse")

Report = dict[str, Any]


def store_report(stores: Stores, report: Report) -> str:
    """Store a report without the images that were withdrawn while it was made; return its key.

    Raises:
        FileStoreError: if it cannot be stored.
        DatabaseError: if the database is away.
    """
    return _put(stores.files, _of_images(report, sample_images(stores.database)))


def take_out_withdrawn(stores: Stores, keys: Collection[str]) -> list[FileStoreError]:
    """Let versions refer to reports without the images that were withdrawn since.

    Of a damaged report nobody can tell what it shows, so no version refers to it any more.

    Args:
        stores: where they are.
        keys: the files to look at; others may have been stored since these were listed.

    Returns:
        Of each report that could not be read, or not be stored anew, why; it is shown as it is.

    Raises:
        DatabaseError: if the database is away.
    """
    images, problems = sample_images(stores.database), []
    with stores.database.read() as session:
        used = {key for key in session.scalars(select(VersionRow.report)) if key}
    for key in used.intersection(keys):
        try:
            renewed = _renewed(stores.files, key, images)
        except FileStoreError as error:
            problems.append(error)
            continue
        if renewed != key:
            rows = update(VersionRow).where(VersionRow.report == key)
            stores.database.update(rows.values(report=renewed))
    return problems


def sample_images(database: Database) -> set[str]:
    """Return the hashes of all images that samples show."""
    with database.read() as session:
        return set(session.scalars(select(SampleRow.image).distinct()))


def _renewed(files: StoredFiles, key: str, images: Collection[str]) -> str | None:
    """Return the key of a report that shows these images alone; None of a damaged one."""
    try:
        report: Report = json.loads(files.read_verified(key))
    except StoredFileError:
        return None
    shown = _of_images(report, images)
    return key if shown == report else _put(files, shown)


def _of_images(report: Report, images: Collection[str]) -> Report:
    return {
        part: [pair for pair in content if image_of(pair["name"]) in images]
        if part in _PAIRS
        else content
        for part, content in report.items()
    }


def _put(files: StoredFiles, report: Report) -> str:
    return files.put("reports", ".json", json.dumps(report).encode())
