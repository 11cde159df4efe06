"""Which part of the image the network sees.

`ZoomIn` is the evaluation protocol of RITM, SimpleClick and iCMFormer: a region of interest
around the object, resized to the network's input. It is pure: what the next pass looks at depends
on the last probability map, the clicks and the last region, and on nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from icmformer.errors import ConfigError
from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import RegionOfInterest, bounding_box

# All four as published. Side of a region over side of the object's box.
EXPANSION = 1.4
# Least side of a region, in image pixels.
_LEAST_SIDE = 200
# A region that overlaps the wanted one by less is replaced.
RECOMPUTE_OVERLAP = 0.5
# Probability above which a pixel counts as object; 0.5 here and 0.49 in the answer.
THRESHOLD = 0.5


@dataclass(frozen=True)
class ZoomIn:
    """The published protocol: RITM's zoom-in, with the fixed size of SimpleClick and iCMFormer.

    The first click sees the whole image, resized like every region.

    Attributes:
        input_size: (height, width) to which the region is resized whatever its aspect ratio.

    Raises:
        ConfigError: if the size is not two whole numbers of at least 1.
    """

    input_size: tuple[int, int]
    as_published: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_size(self.input_size)

    def begins_with_whole(self, image_hw: tuple[int, int]) -> bool:
        """Return True: the first look is at the whole image, wherever the first click is."""
        return True

    def region(
        self,
        probability: np.ndarray,
        clicks: PlacedClicks,
        current: RegionOfInterest | None,
    ) -> RegionOfInterest:
        """Return what the next pass looks at: the current region or, by the protocol, a new one.

        Args:
            probability: (H, W) float32 in [0, 1] before the pass; zeros before the first click.
            clicks: all clicks so far.
            current: the region of the pass before, if there was one.
        """
        box = bounding_box(probability > THRESHOLD)
        if box is None:
            wanted = RegionOfInterest.whole(probability.shape[:2])
        else:
            wanted = self._around(box.including(clicks.positive_pixels), probability.shape[:2])
        if current is None or not current.holds(clicks.positive_pixels):
            return wanted
        return wanted if wanted.overlap(current) < RECOMPUTE_OVERLAP else current

    def _around(self, box: RegionOfInterest, image_hw: tuple[int, int]) -> RegionOfInterest:
        row_min, row_max = self._expand(box.row_min, box.row_max, image_hw[0])
        column_min, column_max = self._expand(box.column_min, box.column_max, image_hw[1])
        return RegionOfInterest(row_min, row_max, column_min, column_max)

    def _expand(self, lowest: int, highest: int, length: int) -> tuple[int, int]:
        """Expand one side of a box and clamp it to the image.

        One pixel longer than asked, rounded half to even, and cut off rather than shifted at the
        border: all three as published.
        """
        centre = 0.5 * (lowest + highest)
        side = max(EXPANSION * (highest - lowest + 1), _LEAST_SIDE)
        first, last = round(centre - 0.5 * side), round(centre + 0.5 * side)
        return max(first, 0), min(last, length - 1)


def check_size(input_size: object) -> None:
    """Refuse a size of a network's input that is none.

    Raises:
        ConfigError: if it is not two whole numbers of at least 1.
    """
    if not _is_size(input_size):
        raise ConfigError(
            "height and width of a network's input need to be two whole numbers, such as"
            f" (448, 448), not {input_size!r}"
        )


def _is_size(value: object) -> bool:
    """Say whether a value is a height and a width in pixels."""
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(side, int | np.integer) and side >= 1 for side in value)
    )
