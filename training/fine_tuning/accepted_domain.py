"""A data set with known masks, seen as annotators would fill the sample store from it."""

from pathlib import Path

import numpy as np

from training.datasets.image_folder import ImageFolder
from training.datasets.sample import AnnotatedImage, TrainingDataset
from training.errors import DatasetError
from training.store.split import HELD_OUT, HELD_OUT_SHARE, VALIDATION, image_hash, split_of


class AcceptedDomain:
    """Images in the order of their hashes, each with a few accepted objects."""

    def __init__(self, folder: Path, objects_per_image: int) -> None:
        """Read every image once.

        Args:
            folder: as `ImageFolder` reads it.
            objects_per_image: most objects that are accepted on one image; the others of the image
                are not outlined, as in a store.
        """
        images = ImageFolder(folder)
        hashes = [image_hash(images[index].image) for index in range(len(images))]
        self._images = images
        self._most = objects_per_image
        self._order = sorted(range(len(images)), key=lambda index: _shuffled(hashes[index]))
        self._split = [split_of(content_hash) for content_hash in hashes]

    @property
    def held_out(self) -> TrainingDataset:
        """The images nobody trains on."""
        chosen = [
            index
            for index in self._order
            if self._split[index] == HELD_OUT and self._images[index].objects
        ]
        return _Accepted(self._images, {index: self._most for index in chosen})

    def accepted(self, masks: int) -> tuple[TrainingDataset, TrainingDataset]:
        """Return the images to train on and to validate on after so many masks were accepted.

        Of the masks, those on held-out images are lost to training; here that is exactly their
        share, so that a curve does not depend on which images came first.

        Raises:
            DatasetError: if there are not so many, or none of them may be trained on.
        """
        left = round(masks * (1 - HELD_OUT_SHARE))
        taken: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for index in self._order:
            if self._split[index] == HELD_OUT or left == 0:
                continue
            count = min(len(self._images[index].objects), self._most, left)
            if count:
                taken[self._split[index] == VALIDATION][index] = count
            left -= count
        if left:
            raise DatasetError(
                f"{self._images.path} has too few objects for {masks} accepted masks: at most "
                f"{self._most} of an image are accepted, and a fifth of the images is held out"
            )
        if not taken[False]:
            raise DatasetError(
                f"the first {masks} accepted masks of {self._images.path} leave none to train on, "
                "for all are on images to validate on: ask for more --masks"
            )
        return _Accepted(self._images, taken[False]), _Accepted(self._images, taken[True])


class _Accepted:
    """Some images, each with its first few objects; the rest is background."""

    def __init__(self, images: TrainingDataset, counts: dict[int, int]) -> None:
        self._images = images
        self._chosen = list(counts.items())

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> AnnotatedImage:
        position, count = self._chosen[index]
        image = self._images[position]
        # The order of instance ids is mostly that of rows: every n-th is a fairer choice.
        objects = image.objects[:: max(len(image.objects) // count, 1)][:count]
        kept = np.zeros_like(image.layers)
        for layer, instance in objects:
            same = image.layers[:, :, layer] == instance
            kept[:, :, layer][same] = instance
        return AnnotatedImage(image.name, image.image, kept, objects)


def _shuffled(content_hash: str) -> str:
    """Return a key to sort by that has nothing to do with the split."""
    return content_hash[::-1]
