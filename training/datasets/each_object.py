"""Turns annotated images into an evaluation data set: one sample for every object."""

import numpy as np

from training.datasets.sample import (
    IGNORE,
    AnnotatedImage,
    EvaluationDataset,
    EvaluationSample,
    TrainingDataset,
)
from training.datasets.subset import spread
from training.object_names import object_name


class EachObject:
    """The objects of annotated images, one by one; the other objects are background."""

    def __init__(self, images: TrainingDataset) -> None:
        """List the objects, for which every image is read once.

        Args:
            images: as for training.
        """
        self._images = images
        self._objects = [
            (index, layer, instance)
            for index in range(len(images))
            for layer, instance in images[index].objects
        ]

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._objects)

    def __getitem__(self, index: int) -> EvaluationSample:
        """Return one object with its image.

        Raises:
            DatasetError: if a file is damaged.
        """
        image_index, layer, instance = self._objects[index]
        annotated = self._images[image_index]
        target = _target(annotated, layer, instance)
        name = object_name(annotated.name, f"{layer}.{instance}")
        return EvaluationSample(name, annotated.image, target)


def some_objects(images: TrainingDataset, limit: int) -> EvaluationDataset | None:
    """Return at most `limit` objects, spread over the images; None if there is none."""
    objects = EachObject(images)
    return spread(objects, limit) if len(objects) else None


def _target(annotated: AnnotatedImage, layer: int, instance: int) -> np.ndarray:
    ids = annotated.layers[:, :, layer]
    target = (ids == instance).astype(np.int8)
    target[ids == IGNORE] = IGNORE
    return target
