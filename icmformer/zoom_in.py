"""Which part of the image the network sees.

`ZoomIn` is the evaluation protocol of RITM, SimpleClick and iCMFormer: a region of interest
around the object, resized to the network's input. `WholeImage` is the same without a region.
Both are pure: what the next pass looks at depends on the last probability map, the clicks and the
last region, and on nothing else.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from icmformer.errors import ConfigError
from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import RegionOfInterest, bounding_box


class Zoom(Protocol):
    """A way to look at the image; what the predictor asks of one."""

    @property
    def looks(self) -> int:
        """The most network passes for one click."""

    @property
    def feeds_back(self) -> bool:
        """Whether a second look at the same clicks reads the first look's probability."""

    @property
    def as_published(self) -> bool:
        """How image and clicks are resized; see `icmformer.region_of_interest.View`."""

    def region(
        self,
        probability: np.ndarray,
        clicks: PlacedClicks,
        current: RegionOfInterest | None,
    ) -> RegionOfInterest | None:
        """Return what the next pass looks at; None is the whole image.

        Args:
            probability: (H, W) float32 in [0, 1] before the pass; zeros before the first click.
            clicks: all clicks so far.
            current: the region of the pass before, if it had one.
        """

    def look_again(
        self,
        probability: np.ndarray,
        clicks: PlacedClicks,
        current: RegionOfInterest | None,
    ) -> RegionOfInterest | None:
        """Return a region to look at once more before answering, or None to answer.

        Args:
            probability: (H, W) float32 in [0, 1] after the pass.
            clicks: all clicks so far.
            current: the region of the pass.
        """

    def close_up(
        self, pixel: np.ndarray, current: RegionOfInterest | None, image_hw: tuple[int, int]
    ) -> RegionOfInterest | None:
        """Return the surroundings of a correcting click, to be seen larger; None if they are not.

        Args:
            pixel: (2,) int, row and column of the click.
            current: the region of the pass that answered it.
            image_hw: height and width of the image.
        """

    def network_size(
        self, region: RegionOfInterest | None, image_hw: tuple[int, int]
    ) -> tuple[int, int]:
        """Return the height and width to which the region is resized."""


@dataclass(frozen=True)
class WholeImage:
    """No zoom-in: the whole image at its own size, or shrunk to a longest side in pixels."""

    longest_side: int | None = None
    looks: ClassVar[int] = 1
    feeds_back: ClassVar[bool] = False
    as_published: ClassVar[bool] = True

    def region(
        self,
        probability: np.ndarray,
        clicks: PlacedClicks,
        current: RegionOfInterest | None,
    ) -> RegionOfInterest | None:
        """Return None, always; see `Zoom`."""
        return None

    def look_again(
        self,
        probability: np.ndarray,
        clicks: PlacedClicks,
        current: RegionOfInterest | None,
    ) -> RegionOfInterest | None:
        """Return None, always; see `Zoom`."""
        return None

    def close_up(
        self, pixel: np.ndarray, current: RegionOfInterest | None, image_hw: tuple[int, int]
    ) -> RegionOfInterest | None:
        """Return None, always; see `Zoom`."""
        return None

    def network_size(
        self, region: RegionOfInterest | None, image_hw: tuple[int, int]
    ) -> tuple[int, int]:
        """Return the image's size, its longest side limited; see `Zoom`."""
        if self.longest_side is None or max(image_hw) <= self.longest_side:
            return image_hw
        return _with_longest_side(image_hw, self.longest_side)


@dataclass(frozen=True)
class ZoomIn:
    """The published protocol: RITM's zoom-in, with the fixed size of SimpleClick and iCMFormer.

    Attributes:
        target: (height, width) to which the region is resized whatever its aspect ratio, as
            published for iCMFormer; or one number, the longest side, as published for RITM.
        skip_clicks: this many clicks see the whole image at its own size. -1 zooms from the first
            click on, whose region is then the whole image. With 0 the first click is answered
            after a second look if the object turns out to be small.
        expansion: side of the region over side of the object's box.
        min_crop: least side of the region, in image pixels.
        recompute_iou: a region that overlaps the wanted one by less than this is replaced.
        threshold: probability above which a pixel counts as object. 0.5 here and 0.49 in the
            answer, as published.

    Raises:
        ConfigError: if a side of the target is not positive.
    """

    target: tuple[int, int] | int
    skip_clicks: int = -1
    expansion: float = 1.4
    min_crop: int = 200
    recompute_iou: float = 0.5
    threshold: float = 0.5
    looks: ClassVar[int] = 2
    feeds_back: ClassVar[bool] = False
    as_published: ClassVar[bool] = True

    def __post_init__(self) -> None:
        sides = (self.target,) if isinstance(self.target, int) else self.target
        if min(sides) < 1:
            raise ConfigError(f"a network's input cannot be {self.target} pixels large")

    def region(
        self,
        probability: np.ndarray,
        clicks: PlacedClicks,
        current: RegionOfInterest | None,
    ) -> RegionOfInterest | None:
        """Return the current region or, where the protocol replaces it, a new one; see `Zoom`."""
        if len(clicks) <= self.skip_clicks:
            return None
        box = bounding_box(probability > self.threshold)
        if box is None and self.skip_clicks >= 0:
            return None
        if box is None:
            wanted = RegionOfInterest.whole(probability.shape[:2])
        else:
            wanted = self._around(box.including(clicks.positive_pixels), probability.shape[:2])
        if current is None or not current.holds(clicks.positive_pixels):
            return wanted
        return wanted if wanted.overlap(current) < self.recompute_iou else current

    def look_again(
        self,
        probability: np.ndarray,
        clicks: PlacedClicks,
        current: RegionOfInterest | None,
    ) -> RegionOfInterest | None:
        """Return a region if skip_clicks is 0 and the whole image shows a small object.

        See `Zoom`.
        """
        box = bounding_box(probability > self.threshold)
        if self.skip_clicks != 0 or current is not None or box is None:
            return None
        whole = RegionOfInterest.whole(probability.shape[:2])
        if self._around(box, probability.shape[:2]).overlap(whole) >= self.recompute_iou:
            return None
        return self.region(probability, clicks, current)

    def close_up(
        self, pixel: np.ndarray, current: RegionOfInterest | None, image_hw: tuple[int, int]
    ) -> RegionOfInterest | None:
        """Return None, always; see `Zoom`."""
        return None

    def network_size(
        self, region: RegionOfInterest | None, image_hw: tuple[int, int]
    ) -> tuple[int, int]:
        """Return the target, or the image's own size while the zoom is skipped; see `Zoom`."""
        if region is None:
            return image_hw
        if isinstance(self.target, int):
            return _with_longest_side(region.size_hw, self.target)
        return self.target

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
        side = max(self.expansion * (highest - lowest + 1), self.min_crop)
        first, last = round(centre - 0.5 * side), round(centre + 0.5 * side)
        return max(first, 0), min(last, length - 1)


def _with_longest_side(size_hw: tuple[int, int], longest_side: int) -> tuple[int, int]:
    scale = longest_side / max(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))
