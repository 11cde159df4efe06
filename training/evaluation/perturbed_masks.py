"""Masks that are nearly right, to be corrected by clicks, as in DAVIS-585 (FocalClick 2022).

DAVIS-585 damages true masks until an IoU of 0.75 to 0.85 is left. Here the damage is made of
ellipses, added or cut out where the object ends, and follows from a seed.
"""

from dataclasses import replace
from zlib import crc32

import cv2
import numpy as np

from training.datasets.sample import EvaluationDataset, EvaluationSample
from training.evaluation.noc import iou

LOWEST_IOU = 0.75
HIGHEST_IOU = 0.85
_ATTEMPTS = 500


class StartFromMask:
    """An evaluation data set whose every sample starts from a damaged mask of its object."""

    def __init__(self, dataset: EvaluationDataset, seed: int) -> None:
        """Wrap a data set; equal seeds damage equal samples equally."""
        self._dataset = dataset
        self._seed = seed

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._dataset)

    def __getitem__(self, index: int) -> EvaluationSample:
        """Return one object with the mask to start from."""
        sample = self._dataset[index]
        rng = np.random.default_rng([self._seed, crc32(sample.name.encode())])
        return replace(sample, initial_mask=damaged(sample.target, rng))


def damaged(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a mask of the object that needs correcting.

    Args:
        target: (H, W) int8; 1 is the object, 0 is not, -1 is ignored.
        rng: decides on everything random.

    Returns:
        (H, W) bool, of an IoU with the object between `LOWEST_IOU` and `HIGHEST_IOU`. An object of
        a few pixels, which cannot be damaged so little, is returned as it is.
    """
    mask = target == 1
    border = _border(mask)
    if not len(border):
        return mask
    wanted = rng.uniform(LOWEST_IOU, HIGHEST_IOU)
    for _ in range(_ATTEMPTS):
        candidate = _with_ellipse(mask, border[rng.integers(len(border))], rng)
        remaining = iou(target, candidate)
        if remaining >= LOWEST_IOU:
            mask = candidate
            if remaining <= wanted:
                break
    return mask


def _border(mask: np.ndarray) -> np.ndarray:
    """Return (N, 2) row and column of the object's outermost pixels."""
    inside = cv2.erode(np.pad(mask, 1).astype(np.uint8), np.ones((3, 3)))[1:-1, 1:-1]
    return np.argwhere(mask & (inside == 0))


def _with_ellipse(mask: np.ndarray, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the mask with a random ellipse around (row, column) set or cleared."""
    size = np.sqrt(np.count_nonzero(mask))
    half_axes = np.maximum(1, np.round(size * rng.uniform(0.05, 0.3, size=2))).astype(int)
    drawn = mask.astype(np.uint8)
    cv2.ellipse(
        drawn,
        (int(centre[1]), int(centre[0])),
        (int(half_axes[0]), int(half_axes[1])),
        float(rng.uniform(0, 180)),
        0,
        360,
        int(rng.integers(2)),
        -1,
    )
    return drawn.astype(bool)
