"""An accepted object and its mask, kept as the crop that holds it.

An image with hundreds of nuclei has hundreds of masks; at full size they would not fit in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """A mask of an image: `crop` holds every pixel of the object, the rest is not the object.

    Attributes:
        top: row of the crop's first pixel.
        left: column of the crop's first pixel.
        crop: (h, w) bool.
        size_hw: height and width of the whole image.
    """

    top: int
    left: int
    crop: Mask
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, mask: Mask) -> "ObjectMask":
        """Return the smallest crop of a mask, (H, W) bool."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            return cls(0, 0, np.zeros((0, 0), dtype=bool), _size(mask))
        top, left = int(rows[0]), int(columns[0])
        crop = mask[top : rows[-1] + 1, left : columns[-1] + 1].copy()
        return cls(top, left, crop, _size(mask))

    @cached_property
    def area(self) -> int:
        """Number of pixels of the object."""
        return np.count_nonzero(self.crop)

    def full(self) -> Mask:
        """Return the mask at the size of the image, (H, W) bool."""
        mask = np.zeros(self.size_hw, dtype=bool)
        height, width = self.crop.shape
        mask[self.top : self.top + height, self.left : self.left + width] = self.crop
        return mask

    def overlap(self, other: "ObjectMask") -> int:
        """Return the number of pixels that both masks hold."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.crop.shape[0], other.top + other.crop.shape[0])
        right = min(self.left + self.crop.shape[1], other.left + other.crop.shape[1])
        if bottom <= top or right <= left:
            return 0
        mine, theirs = (
            mask.crop[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]
            for mask in (self, other)
        )
        return np.count_nonzero(mine & theirs)

    def contains(self, row: int, column: int) -> bool:
        """Return whether the pixel belongs to the object; pixels outside the image do not."""
        row, column = row - self.top, column - self.left
        height, width = self.crop.shape
        return 0 <= row < height and 0 <= column < width and bool(self.crop[row, column])


@dataclass(frozen=True)
class AcceptedObject:
    """One object of an annotation, on the upright image."""

    region: str
    label: str
    mask: ObjectMask


def union(masks: Sequence[ObjectMask]) -> ObjectMask:
    """Return one mask with the pixels of all, which must be masks of the same image."""
    if len(masks) == 1:
        return masks[0]
    together = np.zeros(masks[0].size_hw, dtype=bool)
    for mask in masks:
        height, width = mask.crop.shape
        together[mask.top : mask.top + height, mask.left : mask.left + width] |= mask.crop
    return ObjectMask.of(together)


def _size(mask: Mask) -> tuple[int, int]:
    return mask.shape[0], mask.shape[1]
