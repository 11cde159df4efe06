"""Simulated annotators: where would a person click next?

`CentreAnnotator` is the one of the published protocol (RITM, SimpleClick, iCMFormer). It is pure:
the clicks so far are its only memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np

from icmformer.clicks import Click, from_row_column, rows_columns
from training.clicks.depth import exact_depth
from training.datasets.sample import IGNORE


class Annotator(Protocol):
    """Chooses the next click, knowing the true mask and the predicted one."""

    def next_click(self, target: np.ndarray, mask: np.ndarray, clicks: Sequence[Click]) -> Click:
        """Return the next click.

        Args:
            target: (H, W) int8; 1 is the object, 0 is not, -1 is ignored.
            mask: (H, W) bool, the prediction; all false before the first click.
            clicks: made so far, each at the centre of a pixel.
        """


@dataclass(frozen=True)
class CentreAnnotator:
    """Clicks the middle of the largest error: the pixel deepest inside it, the first one in rows.

    The exact distance to the error's border decides, and a tie between missing and superfluous
    area asks for a negative click. Without any error the click is negative at the top-left pixel.
    """

    def next_click(self, target: np.ndarray, mask: np.ndarray, clicks: Sequence[Click]) -> Click:
        """Return the next click; see `Annotator`."""
        positive, depth = deepest_error(target, mask, clicks)
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        return from_row_column(int(row), int(column), positive)


@dataclass(frozen=True)
class JitteredAnnotator:
    """Clicks somewhere inside the largest error, more likely deep inside than near its border.

    Real annotators do not find the centre; a pixel's chance is its distance to the error's border.
    The draw depends on the seed, the target and the number of clicks, so a run can be repeated and
    samples may be evaluated in any order.
    """

    seed: int = 0

    def next_click(self, target: np.ndarray, mask: np.ndarray, clicks: Sequence[Click]) -> Click:
        """Return the next click; see `Annotator`."""
        positive, depth = deepest_error(target, mask, clicks)
        inside = np.flatnonzero(depth > 0)
        if not len(inside):
            return CentreAnnotator().next_click(target, mask, clicks)
        chances = depth.ravel()[inside]
        rng = np.random.default_rng([self.seed, crc32(target.tobytes()), len(clicks)])
        chosen = rng.choice(inside, p=chances / chances.sum())
        row, column = np.unravel_index(int(chosen), depth.shape)
        return from_row_column(int(row), int(column), positive)


def several_annotators(count: int) -> tuple[Annotator, ...]:
    """Return the annotator of the published protocol, and `count` - 1 who miss the centre."""
    return (CentreAnnotator(), *(JitteredAnnotator(seed) for seed in range(1, count)))


def deepest_error(
    target: np.ndarray, mask: np.ndarray, clicks: Sequence[Click]
) -> tuple[bool, np.ndarray]:
    """Measure how deep each pixel lies inside the error to be corrected next.

    Args:
        target: (H, W) int8; 1 is the object, 0 is not, -1 is ignored.
        mask: (H, W) bool, the prediction.
        clicks: made so far; their pixels are not clicked again.

    Returns:
        Whether the click should be positive, and (H, W) float64: the distance in pixels to the
        border of the error, 0 outside of it and on clicked pixels.
    """
    counts = target != IGNORE
    missing = exact_depth((target == 1) & ~mask & counts)
    superfluous = exact_depth((target != 1) & mask & counts)
    rows, columns = rows_columns(clicks).astype(np.int64).T
    missing[rows, columns] = 0
    superfluous[rows, columns] = 0
    positive = bool(missing.max() > superfluous.max())
    return positive, missing if positive else superfluous
