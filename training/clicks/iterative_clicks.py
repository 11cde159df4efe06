"""The clicks that answer the network's own mistakes during training (paper section 3.3).

The authors' code places such a click uniformly in the inner half of the larger error, which is
RITM's rule; the paper describes a mixture of the error's centre and a point near its border. Both
are here. Unlike in that code, ignored pixels are in no error: nobody says that they are wrong, and
the simulated annotators of benchmarks leave them alone, too.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from icmformer.segmentation import MASK_THRESHOLD
from training.clicks.initial_clicks import NEGATIVE, POSITIVE

Placement = Literal["inner_half", "centre_and_border"]


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


def find_corrections(labels: np.ndarray, probabilities: np.ndarray) -> list[Correction]:
    """Find the sign and the place of the next training click of each sample.

    Args:
        labels: (B, H, W); 1 is object, 0 is not, -1 is ignored.
        probabilities: (B, H, W) float, the network's answers.

    Returns:
        one correction a sample, in their order.
    """
    wanted, unwanted = labels == 1, labels == 0
    missing = _depths(wanted & (probabilities < MASK_THRESHOLD))
    surplus = _depths(unwanted & (probabilities > MASK_THRESHOLD))
    positive = missing.max(axis=(1, 2)) > surplus.max(axis=(1, 2))
    return [
        Correction(bool(more), inside if more else outside)
        for more, inside, outside in zip(positive, missing, surplus, strict=True)
    ]


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


def _depths(errors: np.ndarray) -> np.ndarray:
    """Return the distances to the regions' edges; the edge of an image counts as one.

    Mask size 5 is OpenCV's approximate transform, which training uses; evaluation's is exact.
    """
    count, height, width = errors.shape
    framed = np.zeros((count, height + 2, width + 2), np.uint8)
    framed[:, 1:-1, 1:-1] = errors
    # One tall image: a single long call lets other threads run, many short ones would not.
    depths = cv2.distanceTransform(framed.reshape(-1, width + 2), cv2.DIST_L2, 5)
    return depths.reshape(framed.shape)[:, 1:-1, 1:-1]
