"""A classical method for the bottom of every table: OpenCV's GrabCut, seeded by the same clicks.

Rother, Kolmogorov, Blake: "GrabCut", 2004. It learns nothing but the colours of this one object
and its background, and has never seen another image.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from icmformer.clicks import Click, rows_columns
from icmformer.segmentation import Segmentation

# OpenCV fits mixtures of five colours to object and background; fewer pixels it refuses.
_COLOURS = 5
# The values were chosen on every third image of GrabCut, where others (radius 10, surroundings 0.08
# to 0.25, 1 to 3 rounds) did not do better. Radius of the disk that a click fixes, in pixels:
_RADIUS = 5
# Radius of what it suggests, as a share of the image's shorter side.
_SURROUNDINGS = 0.1
# Of fitting colours and cutting, for each click.
_ROUNDS = 2
# What its scores depend on, for reports.
VALUES = f"radius {_RADIUS}, surroundings {_SURROUNDINGS}, {_ROUNDS} rounds"


class GrabCutBaseline:
    """Answers clicks like `icmformer.Predictor`, with graph cuts and colour mixtures.

    A click fixes the disk around it and suggests that its wider surroundings are the same; the rest
    is suggested by the mask before.
    """

    def segment(
        self, image: np.ndarray, clicks: Sequence[Click], previous: Segmentation | None = None
    ) -> Segmentation:
        """Segment the object that the clicks describe; see `icmformer.Predictor.segment`.

        Args:
            image: (H, W, 3) uint8 RGB.
            clicks: all clicks in order, in pixels of the image.
            previous: the result for the first few of these clicks, or a mask to start from.
        """
        result = previous or Segmentation.empty(image.shape[:2])
        for count in range(len(result.clicks) + 1, len(clicks) + 1):
            mask = self._cut(image, clicks[:count], result.mask)
            result = Segmentation(mask.astype(np.float32), clicks=tuple(clicks[:count]))
        return result

    def _cut(self, image: np.ndarray, clicks: Sequence[Click], before: np.ndarray) -> np.ndarray:
        """Return the mask (H, W) bool after the last click."""
        labels = np.where(before, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        reach = round(_SURROUNDINGS * min(before.shape))
        _draw(labels, clicks[-1:], reach, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
        _draw(labels, clicks, _RADIUS, cv2.GC_FGD, cv2.GC_BGD)
        object_pixels = np.count_nonzero(_is_object(labels))
        if _COLOURS <= object_pixels <= labels.size - _COLOURS:
            # Its clustering starts from random colours; the same clicks shall give the same mask.
            cv2.setRNGSeed(0)
            background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
            whole = (0, 0, image.shape[1], image.shape[0])
            mode = cv2.GC_INIT_WITH_MASK
            cv2.grabCut(image, labels, whole, background, foreground, _ROUNDS, mode)
        return _is_object(labels)


def _draw(
    labels: np.ndarray, clicks: Sequence[Click], radius: int, positive: int, negative: int
) -> None:
    """Write a label into the disk around every click, the later clicks over the earlier ones."""
    for click, position in zip(clicks, rows_columns(clicks), strict=True):
        row, column = (round(value) for value in position)
        cv2.circle(labels, (column, row), radius, positive if click.positive else negative, -1)


def _is_object(labels: np.ndarray) -> np.ndarray:
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
