"""What annotators accepted, as data sets: images to train on, objects to be judged by."""

import numpy as np

from training.datasets.object_names import object_name
from training.datasets.sample import AnnotatedImage, EvaluationSample, layered
from training.store.sample_files import SampleFiles
from training.store.snapshot import Snapshot, spread_over_images


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

    @property
    def names(self) -> list[str]:
        """The name of each image."""
        return list(self._images)

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
    """An evaluation data set: the objects of a snapshot, named ``<image>#<mask>``.

    Beyond `limit` objects, every image gives its share before any gives more, so that one crowded
    image does not speak for all. The choice depends on the objects alone.
    """

    def __init__(self, snapshot: Snapshot, files: SampleFiles, limit: int) -> None:
        """Read nothing yet.

        Args:
            snapshot: of one side of the split.
            files: where the pixels are.
            limit: most objects.
        """
        self._files = files
        self._samples = spread_over_images(snapshot.samples, limit)

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
