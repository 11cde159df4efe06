"""A box drawn around an object: another way than clicks to say which one is meant."""

import math
from dataclasses import dataclass
from numbers import Real

import cv2
import numpy as np
from numpy.typing import NDArray

from icmformer.clicks import Click
from icmformer.errors import InputError


@dataclass(frozen=True)
class Box:
    """A rectangle drawn around an object.

    Attributes:
        left: pixels of the upright image from its left edge; with `right`, `top` and `bottom`
            continuous as in `Click`, at most a pixel outside of the image.
        top: pixels from the top edge.
        right: greater than `left`.
        bottom: greater than `top`.
        corners: x and y of the three corners or more of what is seen of a rectangle that is not
            upright, in order around it; the sides above are those of the upright box around it.

    Raises:
        InputError: if a side is no number, the box has no area, or there are too few corners.
    """

    left: float
    top: float
    right: float
    bottom: float
    corners: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        are_numbers = all(isinstance(side, Real) for side in sides)
        if not (are_numbers and self.left < self.right and self.top < self.bottom):
            raise InputError(
                f"a box needs four numbers, left < right and top < bottom, this one has {sides}"
            )
        if len(self.corners) in (1, 2):
            raise InputError(f"a box has three corners or more, this one has {self.corners}")

    def clicks(self) -> tuple[Click, ...]:
        """Return what a box says, in clicks: its corners are not the object, its middle is."""
        across, down = (self.left, self.right), (self.top, self.bottom)
        corners = self.corners or tuple((x, y) for x in across for y in down)
        x, y = np.mean(corners, axis=0).tolist()
        outside = (Click(*corner, positive=False) for corner in corners)
        return (*outside, Click(x, y, positive=True))

    def mask(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return (H, W) bool: the pixels the box touches."""
        mask = np.zeros(size_hw, dtype=bool)
        # below 0 indices would count from the other end
        top, bottom = max(math.floor(self.top), 0), max(math.ceil(self.bottom), 0)
        left, right = max(math.floor(self.left), 0), max(math.ceil(self.right), 0)
        mask[top:bottom, left:right] = True
        if self.corners:
            tilted = np.zeros(size_hw, dtype=np.uint8)
            # OpenCV counts from the middle of the first pixel, in 1/256 pixels.
            points = np.rint((np.array(self.corners) - 0.5) * 256).astype(np.int32)
            mask &= cv2.fillConvexPoly(tilted, points, (1,), shift=8).astype(bool)
        return mask
