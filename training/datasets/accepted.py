"""What annotators accepted, as data sets: images to train on, objects to be judged by."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sqlalchemy import select

from training.datasets.sample import AnnotatedImage, EvaluationSample, layered
from training.errors import DatasetError
from training.object_names import object_name
from training.store.database import Database
from training.store.sample_files import SampleFiles
from training.store.sample_rows import SampleRow
from training.store.samples import SampleStore
from training.store.snapshot import Snapshot, take_snapshot
from training.store.split import TRAINING
from training.store.state_folder import StateFolder
from training.store.stored_files import StoredFiles

_ADVICE = (
    "expected state.db and files/ as a backend keeps them in its MODEL_DIR; accept masks in"
    " Label Studio first"
)


class AcceptedImages:
    """A training data set: each image of a snapshot with all its objects."""

    def __init__(self, snapshot: Snapshot, files: SampleFiles) -> None:
        """Read nothing yet.

        Args:
            snapshot: of one side of the split.
            files: where the pixels are.
        """
        self.fingerprint = snapshot.fingerprint
        self._files = files
        self._images = snapshot.images()
        self._masks: dict[str, list[str]] = {image: [] for image in self._images}
        for sample in snapshot.samples:
            self._masks[sample.image].append(sample.mask)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __getitem__(self, index: int) -> AnnotatedImage:
        """Return one image.

        Raises:
            StoredFileError: if one of its files is missing or damaged.
        """
        name = self._images[index]
        image = self._files.read_image(name)
        # One mask at a time: hundreds of them at full size would not fit in memory.
        layers, objects = layered(self._files.read_mask(mask) for mask in self._masks[name])
        return AnnotatedImage(name, image, layers, objects)


class AcceptedObjects:
    """An evaluation data set: the objects of a snapshot, named ``<image>#<mask>``."""

    def __init__(self, snapshot: Snapshot, files: SampleFiles) -> None:
        """Read nothing yet.

        Args:
            snapshot: of one side of the split.
            files: where the pixels are.
        """
        self._files = files
        self._samples = snapshot.samples

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._samples)

    def __getitem__(self, index: int) -> EvaluationSample:
        """Return one object.

        Raises:
            StoredFileError: if one of its files is missing or damaged.
        """
        sample = self._samples[index]
        target = self._files.read_mask(sample.mask).astype(np.int8)
        name = object_name(sample.image, sample.mask)
        return EvaluationSample(name, self._files.read_image(sample.image), target)


def accepted_store(folder: Path, project: int | None = None) -> AcceptedImages:
    """Open the training side of a store as it is now, as a data set of a recipe.

    What is accepted later is not seen. Of the split only the training side is: who trains on it
    from scratch and has the result judged by the backend's gate later, is judged on images the
    network has never met.

    Args:
        folder: MODEL_DIR of the backend, with the database and the files in it.
        project: Label Studio's number of the project; None takes all projects.

    Raises:
        DatasetError: if there is no store, or nothing in it to train on.
        DatabaseError: if its database cannot be read.
    """
    state = StateFolder(folder)
    if not state.database.is_file():  # which opening would create
        raise DatasetError(f"there is no sample store in {folder}; {_ADVICE}")
    database = Database(state.database)
    files = StoredFiles(state.files, state.downloads)
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
