"""The zoom for people who click: find a small object first, then look at it closely.

The published protocol (`icmformer.zoom_in.ZoomIn`) was made for benchmarks, where objects are
large. It squeezes the whole image into the network for the first click, moves in when the *next*
click comes, never crops less than 200 pixels, and cuts off what leaves the crop. A person with a
tiny or thin object gets a blob, nothing at all, or a straight cut edge, and has to click again to
get rid of it. Here the same rule for the region of interest is applied at once:

* A click is answered after up to `looks` passes, and those below. As long as the last answer says
  that another region would show the object better, that region is looked at, starting from the
  last answer.
* What an object's first click is on may be too small to be seen in the whole image. Where the
  answer hardly stands out there, windows around the click are looked at, each half as long as the
  one before; see `icmformer.first_click`.
* Where nothing was found, the next look goes to the surroundings of the positive clicks.
* One look moves in by at most `_STEP`, so a wrong first answer does not lose the context, and
  nothing is magnified more than `_MAGNIFICATION` times: a click's disk, 11 pixels wide for the
  network, then hides less than 2 pixels of a thin object, the network's answer, at a quarter of
  its input, has half a pixel of the image, and a crop is never smaller than an eighth of the input.
* A mask that runs into the border of its region is looked at again in a larger one.
* A correction is looked at once more, in a window around its click, where that shows the outline
  larger: the whole of a large object is shrunk for the network. As in FocusCut (CVPR 2022), the
  object is found in one view and its outline in another; see `icmformer.local_refinement`.
* Regions are at most `_ASPECT` times longer than wide, also the first: a panorama squeezed into a
  square would show nothing.
* Shrinking averages instead of picking pixels, and clicks are placed exactly: published is an
  offset of up to half a pixel of the image, 4 pixels of a network that sees it magnified 8 times.

What a click costs is bounded (a first one by the logarithm of the image's side), and the result
still depends on image and clicks alone.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import RegionOfInterest, bounding_box, centred
from icmformer.zoom_in import EXPANSION, RECOMPUTE_OVERLAP, THRESHOLD, check_size

# Network pixels per image pixel, at most.
_MAGNIFICATION = 8.0
# How many times smaller the sides of the next region may be, at most.
_STEP = 4.0
# Side of the window around a correction, over the longer side of the object's region.
_WINDOW = 0.4
# A window that is a larger share of that region shows too little more.
_WINDOW_MOST = 0.7
# Longer side of a region over its shorter one, at most, where the image allows.
_ASPECT = 3.0


@dataclass(frozen=True)
class RepeatedZoomIn:
    """Zoom in until the region fits the object; see the module.

    Attributes:
        input_size: height and width of the network's input.

    Raises:
        ConfigError: if the size is not two whole numbers of at least 1.
    """

    input_size: tuple[int, int]
    looks: ClassVar[int] = 3
    as_published: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_size(self.input_size)

    def begins_with_whole(self, image_hw: tuple[int, int]) -> bool:
        """Say whether the first look is at the whole image: not for a panorama."""
        return max(image_hw) <= _ASPECT * min(image_hw)

    def region(
        self, probability: np.ndarray, clicks: PlacedClicks, current: RegionOfInterest | None
    ) -> RegionOfInterest:
        """Return where to look first; see `icmformer.zoom_in.ZoomIn`."""
        if current is not None:
            return self.look_again(probability, clicks, current) or current
        image_hw = probability.shape[:2]
        found = bounding_box(probability > THRESHOLD)
        if found is None:
            return self._first_view(clicks, image_hw)
        return self._around(found.including(clicks.positive_pixels), image_hw, least_hw=(0, 0))

    def look_again(
        self, probability: np.ndarray, clicks: PlacedClicks, current: RegionOfInterest
    ) -> RegionOfInterest | None:
        """Return a region that shows the object better than the current one, if there is one.

        Args:
            probability: (H, W) float32 in [0, 1] after the last look.
            clicks: all clicks so far.
            current: the region of that look.
        """
        image_hw = probability.shape[:2]
        found = bounding_box(probability > THRESHOLD)
        if found:
            found = _with_what_was_cut_off(found, current, image_hw)
        box = _box_of(found, clicks)
        if box is None:
            return None
        height, width = current.size_hw
        wanted = self._around(box, image_hw, least_hw=(height / _STEP, width / _STEP))
        fits = current.covers(box) and wanted.overlap(current) >= RECOMPUTE_OVERLAP
        return None if fits or wanted == current else wanted

    def closer_windows(
        self, pixel: np.ndarray, current: RegionOfInterest, image_hw: tuple[int, int]
    ) -> list[RegionOfInterest]:
        """Return ever smaller squares around an object's first click, down to the smallest.

        Args:
            pixel: (2,) int, row and column of the click.
            current: the region of the look that answered it.
            image_hw: height and width of the image.
        """
        windows = []
        side = max(current.size_hw) / 2
        while side >= max(self.input_size) / _MAGNIFICATION:
            windows.append(_window(pixel, side, image_hw))
            side /= 2
        return windows

    def refinement_window(
        self, pixel: np.ndarray, current: RegionOfInterest, image_hw: tuple[int, int]
    ) -> RegionOfInterest | None:
        """Return a square around a correcting click, None if that would hardly show it larger.

        The arguments are those of `closer_windows`.
        """
        longest = max(current.size_hw)
        side = max(_WINDOW * longest, max(self.input_size) / _MAGNIFICATION)
        if side > _WINDOW_MOST * longest:
            return None
        return _window(pixel, side, image_hw)

    def _first_view(self, clicks: PlacedClicks, image_hw: tuple[int, int]) -> RegionOfInterest:
        """Return the whole image, or of a very long one a part with all positive clicks."""
        box = _box_of(None, clicks)
        if box is None:
            return RegionOfInterest.whole(image_hw)
        longest = _ASPECT * min(image_hw)
        return self._around(box, image_hw, (min(image_hw[0], longest), min(image_hw[1], longest)))

    def _around(
        self,
        box: RegionOfInterest,
        image_hw: tuple[int, int],
        least_hw: tuple[float, float],
    ) -> RegionOfInterest:
        """Return the region for a box: expanded, not too small, not too long, inside the image."""
        height, width = (
            max(EXPANSION * side, seen / _MAGNIFICATION, least)
            for side, seen, least in zip(box.size_hw, self.input_size, least_hw, strict=True)
        )
        height, width = max(height, width / _ASPECT), max(width, height / _ASPECT)
        row_min, row_max = centred(box.row_min + box.row_max, height, image_hw[0])
        column_min, column_max = centred(box.column_min + box.column_max, width, image_hw[1])
        return RegionOfInterest(row_min, row_max, column_min, column_max)


def _box_of(found: RegionOfInterest | None, clicks: PlacedClicks) -> RegionOfInterest | None:
    """Return the smallest region with the mask's box and all positive clicks, if there are any."""
    positives = clicks.positive_pixels
    if found is None and not len(positives):
        return None
    if found is None:
        (row, column), *_ = positives.tolist()
        found = RegionOfInterest(row, row, column, column)
    return found.including(positives)


def _window(pixel: np.ndarray, side: float, image_hw: tuple[int, int]) -> RegionOfInterest:
    """Return a square of the image with a pixel in its middle, as far as the image reaches."""
    row_min, row_max = centred(2 * int(pixel[0]), side, image_hw[0])
    column_min, column_max = centred(2 * int(pixel[1]), side, image_hw[1])
    return RegionOfInterest(row_min, row_max, column_min, column_max)


def _with_what_was_cut_off(
    found: RegionOfInterest, region: RegionOfInterest, image_hw: tuple[int, int]
) -> RegionOfInterest:
    """Extend a mask's box by half a region wherever it runs into the region's border.

    Half a region, because a long thin object seen in the middle would else take many looks.
    """
    height, width = region.size_hw
    top = height // 2 if found.row_min == region.row_min else 0
    bottom = height // 2 if found.row_max == region.row_max else 0
    left = width // 2 if found.column_min == region.column_min else 0
    right = width // 2 if found.column_max == region.column_max else 0
    return RegionOfInterest(
        max(found.row_min - top, 0),
        min(found.row_max + bottom, image_hw[0] - 1),
        max(found.column_min - left, 0),
        min(found.column_max + right, image_hw[1] - 1),
    )
