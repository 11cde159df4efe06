"""What a data set yields: annotated images to train on, single objects to evaluate on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.errors import DatasetError

IGNORE = -1
Item = TypeVar("Item", covariant=True)


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and everything that is outlined in it.

    A DatasetError is raised for masks of another size than the image.

    Attributes:
        name: unique within its data set.
        image: (H, W, 3) uint8, RGB.
        layers: (H, W, L) int16 or int32 instance ids; 0 is background, -1 is ignored.
            Objects that overlap lie in different layers.
        objects: pairs (layer, id) that may be asked for; other ids are context.
        stuff: pairs (layer, id) of sky, grass and the like, which are asked for now and then.
    """

    name: str
    image: np.ndarray
    layers: np.ndarray
    objects: tuple[tuple[int, int], ...]
    stuff: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        _require_same_size(self.name, self.image, self.layers)


@dataclass(frozen=True)
class EvaluationSample:
    """One object to be clicked.

    A DatasetError is raised for a target of another size than the image.

    Attributes:
        name: unique within its data set.
        image: (H, W, 3) uint8, RGB.
        target: (H, W) int8; 1 is the object, 0 is not, -1 counts for neither.
        initial_mask: (H, W) bool to be corrected, as in DAVIS-585, or None to start from nothing.
    """

    name: str
    image: np.ndarray
    target: np.ndarray
    initial_mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        _require_same_size(self.name, self.image, self.target)


class Items(Protocol[Item]):
    """Images to train on, or objects to be clicked; each is read when it is asked for."""

    def __len__(self) -> int:
        """Return their number."""
        ...

    def __getitem__(self, index: int) -> Item:
        """Return one, 0 ≤ index < len."""
        ...


TrainingDataset = Items[AnnotatedImage]
EvaluationDataset = Items[EvaluationSample]


def layered(
    masks: Iterable[NDArray[np.bool_]],
) -> tuple[NDArray[np.int16], tuple[tuple[int, int], ...]]:
    """Lay masks that may overlap into as few planes of instance ids as come first.

    Args:
        masks: at least one, (H, W) bool, of the same size; gone through once, none is kept.

    Returns:
        (H, W, L) instance ids, in every layer from 1, 0 where nothing is; and the (layer, id) of
        each mask.
    """
    planes: list[NDArray[np.int16]] = []
    counts: list[int] = []
    objects = []
    for mask in masks:
        layer = next((i for i, plane in enumerate(planes) if not plane[mask].any()), len(planes))
        if layer == len(planes):
            planes.append(np.zeros(mask.shape, dtype=np.int16))
            counts.append(0)
        counts[layer] += 1
        planes[layer][mask] = counts[layer]
        objects.append((layer, counts[layer]))
    return np.stack(planes, axis=2), tuple(objects)


def _require_same_size(name: str, image: np.ndarray, mask: np.ndarray) -> None:
    if mask.shape[:2] != image.shape[:2]:
        raise DatasetError(
            f"image and mask of {name} differ in height and width: "
            f"{image.shape[:2]} and {mask.shape[:2]}"
        )
