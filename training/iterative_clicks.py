"""The clicks that answer the network's own mistakes during training (paper section 3.3).

The authors' code places such a click uniformly in the inner half of the larger error, which is
RITM's rule; the paper describes a mixture of the error's centre and a point near its border. Both
are here.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from training.training_clicks import NEGATIVE, POSITIVE

Placement = Literal["inner_half", "centre_and_border"]
_THRESHOLD = 0.49


@dataclass(frozen=True)
class Correction:
    """Where the next click may fall.

    Attributes:
        positive: whether part of the object is missing, or too much was marked.
        depth: (H, W) float32 distance to the edge of the error, in pixels; 0 elsewhere.
    """

    positive: bool
    depth: np.ndarray

    def candidates(self) -> np.ndarray:
        """Return (H, W) bool: the inner half of the error, none if there is no error."""
        return self.depth > 0.5 * self.depth.max()


def find_correction(labels: np.ndarray, probability: np.ndarray) -> Correction:
    """Find the sign and the place of the next training click.

    Args:
        labels: (H, W); 1 is object, everything else is not, ignored pixels included.
        probability: (H, W) float, the network's answer.
    """
    wanted = labels > 0.5
    missing = _depth(wanted & (probability < _THRESHOLD))
    surplus = _depth(~wanted & (probability > _THRESHOLD))
    positive = bool(missing.max() > surplus.max())
    return Correction(positive, missing if positive else surplus)


def place_click(
    correction: Correction, placement: Placement, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Draw the (row, column) of the next click; None if there is nothing to correct."""
    depth = correction.depth
    if not depth.any():
        return None
    if placement == "inner_half":
        region = correction.candidates()
    elif rng.random() < 0.5:
        region = depth == depth.max()
    else:
        region = (depth > 0) & ~correction.candidates()
    flat = np.flatnonzero(region if region.any() else depth)
    row, column = divmod(int(flat[rng.integers(len(flat))]), depth.shape[1])
    return row, column


def add_click(
    slots: np.ndarray, correction: Correction, number: int, position: tuple[int, int] | None
) -> None:
    """Write iterative click `number` (from 1) into its slot, counted from the end as RITM does.

    A sample that already has that many clicks of the sign loses one of them; under 1 % do.

    Args:
        slots: (2, P, 2) rows and columns, changed in place.
        correction: gives the sign.
        number: 1 for the first iterative click.
        position: (row, column); None writes nothing.
    """
    if position is not None:
        slots[POSITIVE if correction.positive else NEGATIVE, -number] = position


def _depth(error: np.ndarray) -> np.ndarray:
    """Return the distance to the region's edge; the edge of the image counts as one.

    Mask size 5 is OpenCV's approximate transform, which training uses; evaluation's is exact.
    """
    depth = np.zeros(error.shape, np.float32)
    rows, columns = (np.flatnonzero(error.any(axis=axis)) for axis in (1, 0))
    if len(rows):
        # Errors are small, mostly; outside their box there is nothing to compute.
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        region = cv2.copyMakeBorder(error[box].view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        depth[box] = cv2.distanceTransform(region, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return depth
