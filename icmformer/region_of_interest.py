"""Boxes of an image, and the way from the image to what the network sees and back."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class RegionOfInterest:
    """A box of pixels; all four borders are indices that belong to it."""

    row_min: int
    row_max: int
    column_min: int
    column_max: int

    @classmethod
    def whole(cls, image_hw: tuple[int, int]) -> "RegionOfInterest":
        """Return the region that covers an image of this height and width."""
        return cls(0, image_hw[0] - 1, 0, image_hw[1] - 1)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.row_max - self.row_min + 1, self.column_max - self.column_min + 1

    @property
    def slices(self) -> tuple[slice, slice]:
        """The index that cuts the region out of an (H, W, ...) array."""
        return (
            slice(self.row_min, self.row_max + 1),
            slice(self.column_min, self.column_max + 1),
        )

    def overlap(self, other: "RegionOfInterest") -> float:
        """Return the product of the two 1-D IoUs, in [0, 1] (not the IoU of the boxes)."""
        rows = _segment_iou(self.row_min, self.row_max, other.row_min, other.row_max)
        columns = _segment_iou(self.column_min, self.column_max, other.column_min, other.column_max)
        return rows * columns

    def including(self, pixels: np.ndarray) -> "RegionOfInterest":
        """Return the smallest region that covers this one and the (N, 2) row, column pixels."""
        corners = [(self.row_min, self.column_min), (self.row_max, self.column_max)]
        points = np.concatenate([np.array(corners), pixels])
        (row_min, column_min), (row_max, column_max) = points.min(axis=0), points.max(axis=0)
        return RegionOfInterest(int(row_min), int(row_max), int(column_min), int(column_max))

    def covers(self, other: "RegionOfInterest") -> bool:
        """Say whether another region lies inside this one, borders included."""
        rows = self.row_min <= other.row_min and other.row_max <= self.row_max
        columns = self.column_min <= other.column_min and other.column_max <= self.column_max
        return rows and columns

    def holds(self, pixels: np.ndarray) -> bool:
        """Say whether all (N, 2) row, column pixels lie inside.

        The last row and column count as outside, as in the reference: it can change the region.
        """
        lowest, highest = (self.row_min, self.column_min), (self.row_max, self.column_max)
        return bool(((pixels >= lowest) & (pixels < highest)).all())


def _segment_iou(a_min: int, a_max: int, b_min: int, b_max: int) -> float:
    shared = max(0, min(a_max, b_max) - max(a_min, b_min) + 1)
    return shared / (max(a_max, b_max) - min(a_min, b_min) + 1)


@dataclass(frozen=True)
class View:
    """What the network sees of an image: a box of it, resized.

    Attributes:
        image_hw: height and width of the image.
        box: the part that is seen.
        size_hw: height and width at which the network sees it.
        as_published: sample image and masks with the corners aligned, but place clicks by length:
            the published numbers were measured with both, though they disagree by up to a pixel
            of the image. Otherwise everything is placed by length, pixel centres included, and an
            image is averaged where it is shrunk.
    """

    image_hw: tuple[int, int]
    box: RegionOfInterest
    size_hw: tuple[int, int]
    as_published: bool = True

    @classmethod
    def of_whole(cls, image_hw: tuple[int, int], size_hw: tuple[int, int]) -> "View":
        """Return the whole image, placed by length."""
        return cls(image_hw, RegionOfInterest.whole(image_hw), size_hw, as_published=False)


def bounding_box(mask: np.ndarray) -> RegionOfInterest | None:
    """Return the box of the pixels of an (H, W) mask that are not 0, or None if all are."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return RegionOfInterest(int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1]))


def centred(twice_centre: int, length: float, limit: int) -> tuple[int, int]:
    """Return first and last of `length` indices around a centre, shifted into 0..limit - 1."""
    count = min(ceil(length), limit)
    first = min(max((twice_centre - count + 1) // 2, 0), limit - count)
    return first, first + count - 1


def resize(planes: torch.Tensor, size_hw: tuple[int, int], as_published: bool) -> torch.Tensor:
    """Resize float (B, C, H, W) planes, bilinear and without antialiasing; see `View`."""
    return F.interpolate(planes, size=size_hw, mode="bilinear", align_corners=as_published)


def clicks_in_view(rows_columns: np.ndarray, view: View) -> np.ndarray:
    """Map pixel indices of the image to those that the network sees.

    Args:
        rows_columns: (N, 2) float64 row, column in the image.
        view: what is seen.

    Returns:
        (N, 2) float64 row, column, not rounded; negative or too large outside of the view.
    """
    corner = np.array([view.box.row_min, view.box.column_min])
    size_hw, length_hw = np.array(view.size_hw), np.array(view.box.size_hw)
    if view.as_published:
        return size_hw * (rows_columns - corner) / length_hw
    return size_hw * (rows_columns + 0.5 - corner) / length_hw - 0.5
