"""The sample store of a backend as a data set of a recipe: what annotators accepted up to now.

Of the split only the training side is seen: who trains on it from scratch and has the result
judged by the backend's gate later, is judged on images the network has never met.
"""

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select

from training.datasets.accepted import AcceptedImages
from training.errors import DatasetError
from training.store.database import Database
from training.store.sample_files import SampleFiles
from training.store.sample_rows import SampleRow
from training.store.samples import SampleStore
from training.store.snapshot import Snapshot, take_snapshot
from training.store.split import TRAINING
from training.store.stored_files import StoredFiles

_ADVICE = (
    "expected state.db and files/ as a backend keeps them in its MODEL_DIR; accept masks in"
    " Label Studio first"
)


def accepted_store(folder: Path, project: int | None = None) -> AcceptedImages:
    """Open the training side of a store as it is now; what is accepted later is not seen.

    Args:
        folder: MODEL_DIR of the backend, with the database and the files in it.
        project: Label Studio's number of the project; None takes all projects.

    Raises:
        DatasetError: if there is no store, or nothing in it to train on.
    """
    if not (folder / "state.db").is_file():  # which opening would create
        raise DatasetError(f"there is no sample store in {folder}; {_ADVICE}")
    database = Database(f"sqlite:///{folder / 'state.db'}")
    files = StoredFiles(str(folder / "files"), folder / "downloads")
    try:
        SampleStore(database, files)  # creates the tables that a young database lacks
        snapshots = [take_snapshot(database, key) for key in _projects(database, project)]
    finally:
        database.close()
    snapshot = _together(snapshots).on_side(TRAINING)
    if not snapshot.samples:
        whose = "no project has an" if project is None else f"project {project} has no"
        raise DatasetError(f"{folder}: {whose} accepted mask to train on; {_ADVICE}")
    return AcceptedImages(snapshot, SampleFiles(files))


def _projects(database: Database, number: int | None) -> list[str]:
    """Return the keys, ``<number>.<time>``, of the projects with samples."""
    with database.read() as session:
        keys = session.scalars(select(SampleRow.project).distinct().order_by(SampleRow.project))
        return [key for key in keys if number in (None, int(key.partition(".")[0]))]


def _together(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return all samples; an object that was accepted in two projects counts once."""
    samples = {(sample.image, sample.mask): sample for each in snapshots for sample in each.samples}
    return Snapshot(tuple(sorted(samples.values())))
