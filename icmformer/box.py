"""A box drawn around an object: another way than clicks to say which one is meant."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real

import cv2
import numpy as np
from numpy.typing import NDArray

from icmformer.clicks import Click
from icmformer.errors import InputError

# How far its corners, which float32 may have rounded, may lie off a box, in pixels.
_SLACK = 0.5


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
            Kept as a tuple of pairs of floats, also of an (N, 2) array.

    Raises:
        InputError: if a side is no finite number, the box has no area, or the corners are too few,
            no pairs of finite numbers, or those of another box.
    """

    left: float
    top: float
    right: float
    bottom: float
    corners: tuple[tuple[float, float], ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        are_numbers = all(map(_is_finite, sides))
        if not (are_numbers and self.left < self.right and self.top < self.bottom):
            raise InputError(
                f"a box needs four numbers, left < right and top < bottom, this one has {sides}"
            )
        corners = _pairs(self.corners)
        if len(corners) in (1, 2):
            raise InputError(f"a box has three corners or more, this one has {corners}")
        if corners and not np.allclose(
            [*np.min(corners, axis=0), *np.max(corners, axis=0)], sides, rtol=0, atol=_SLACK
        ):
            raise InputError(
                f"the corners {corners} are not those of a box with the sides {sides}, which are "
                "the least x and y of them and the greatest"
            )
        object.__setattr__(self, "corners", corners)

    def clicks(self) -> tuple[Click, ...]:
        """Return what a box says, in clicks: its corners are not the object, its middle is."""
        across, down = (self.left, self.right), (self.top, self.bottom)
        corners = self.corners or tuple((x, y) for x in across for y in down)
        x, y = np.mean(corners, axis=0).tolist()
        outside = (Click(*corner, positive=False) for corner in corners)
        return (*outside, Click(x, y, positive=True))

    def mask(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return (H, W) bool: the pixels an upright box touches or a tilted one about half covers.

        Raises:
            InputError: if the size is not height and width, as the shape of an image is not.
        """
        if len(size_hw) != 2:
            raise InputError(f"a mask has a height and a width, not {size_hw}")
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


def _pairs(corners: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    """Return corners as pairs of floats."""
    try:
        pairs = [(x, y) for x, y in corners]
    except (TypeError, ValueError):
        pairs = [(math.nan, math.nan)]
    if not all(_is_finite(x) and _is_finite(y) for x, y in pairs):
        raise InputError(
            "the corners of a box need to be pairs of finite numbers, x and y, such as"
            " ((0, 5), (5, 0), (9, 9))"
        )
    return tuple((float(x), float(y)) for x, y in pairs)


def _is_finite(number: object) -> bool:
    """Say whether this is a number, and one that a float holds."""
    try:
        return isinstance(number, Real) and math.isfinite(number)
    except OverflowError:
        return False
