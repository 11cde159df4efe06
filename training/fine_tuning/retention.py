"""The retention set: other objects than a project's, against forgetting.

Half of its images are replayed while a model is fine-tuned, the other half says what it forgot.
An image is on the same side in every run, by a hash of its pixels.
"""

import hashlib
from pathlib import Path

import numpy as np

from training.datasets.each_object import some_objects
from training.datasets.image_folder import ImageFolder
from training.datasets.sample import EvaluationDataset, TrainingDataset
from training.datasets.subset import Subset
from training.store.split import image_hash

PACKAGED = Path(__file__).parents[1] / "retention"


class RetentionSet:
    """A folder as `ImageFolder` reads it, cut in two.

    Attributes:
        fingerprint: of all images and masks, 64 hexadecimal digits.
    """

    def __init__(self, folder: Path) -> None:
        """Read every image once.

        Raises:
            DatasetError: if the folder is not such a data set.
        """
        images = ImageFolder(folder)
        sides: tuple[list[int], list[int]] = ([], [])
        content = hashlib.sha256()
        for index in range(len(images)):
            shown = images[index]
            name = image_hash(shown.image)
            sides[int(name[:8], 16) % 2].append(index)
            content.update(name.encode() + np.ascontiguousarray(shown.layers).tobytes())
        self._images = images
        self._replayed, self._judged = sides
        self.fingerprint = content.hexdigest()

    def replay(self) -> TrainingDataset | None:
        """Return the images to train on; None if there is none."""
        return Subset(self._images, self._replayed) if self._replayed else None

    def judged(self, limit: int) -> EvaluationDataset | None:
        """Return at most `limit` objects of the other images, spread over all; None if none."""
        return some_objects(Subset(self._images, self._judged), limit)
