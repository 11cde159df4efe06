"""The retention set: other objects than a project's, against forgetting.

Some of its images are replayed while a model is fine-tuned, the others say what it forgot.
"""

import hashlib
from pathlib import Path

import numpy as np

from training.datasets.each_object import some_objects
from training.datasets.image_folder import ImageFolder
from training.datasets.sample import EvaluationDataset, TrainingDataset
from training.datasets.subset import Subset
from training.errors import DatasetError
from training.store.split import image_hash

PACKAGED = Path(__file__).parents[1] / "retention"

_SIDES = ("replayed", "judged")


class RetentionSet:
    """A folder as `ImageFolder` reads it, cut in two, or two of them: `replayed` and `judged`.

    One that is cut has each image on the same side in every run, by a hash of its pixels.

    Attributes:
        fingerprint: of all images and masks, 64 hexadecimal digits.
    """

    def __init__(self, folder: Path) -> None:
        """Read every image once.

        Raises:
            DatasetError: if the folder is not such a data set, or judges by an image it replays.
        """
        content = hashlib.sha256()
        images, *others = retention_folders(folder)
        names = _read(images, content)
        if others:
            content.update(b"judged")
            for index, name in enumerate(_read(others[0], content)):
                if name in names:
                    raise DatasetError(
                        f"{folder}: the image {others[0][index].name} of judged/ is in replayed/, "
                        "too: take it out of one of them, or the gate judges by what was trained on"
                    )
            self._replayed: TrainingDataset = images
            self._judged: TrainingDataset = others[0]
        else:
            odd = [int(name[:8], 16) % 2 for name in names]
            self._replayed, self._judged = (
                Subset(images, [index for index, side in enumerate(odd) if side == wanted])
                for wanted in (0, 1)
            )
        self.fingerprint = content.hexdigest()

    def replay(self) -> TrainingDataset | None:
        """Return the images to train on; None if there is none."""
        return self._replayed if len(self._replayed) else None

    def judged(self, limit: int) -> EvaluationDataset | None:
        """Return at most `limit` objects of the other images, spread over all; None if none."""
        return some_objects(self._judged, limit)


def retention_folders(folder: Path) -> list[ImageFolder]:
    """Return what the folder holds: one data set to cut in two, or what is replayed and judged.

    Raises:
        DatasetError: if it is neither.
    """
    if any((folder / side).is_dir() for side in _SIDES):
        return [ImageFolder(folder / side) for side in _SIDES]
    return [ImageFolder(folder)]


def _read(images: ImageFolder, content: "hashlib._Hash") -> list[str]:
    """Return the hashes of the images' pixels, and add these and the masks to the content."""
    names = []
    for index in range(len(images)):
        shown = images[index]
        names.append(image_hash(shown.image))
        content.update(names[-1].encode() + np.ascontiguousarray(shown.layers).tobytes())
    return names
