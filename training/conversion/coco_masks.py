"""COCO's three ways to write a mask: polygons, run lengths, and run lengths packed into text.

The format is that of the COCO API (github.com/cocodataset/cocoapi, common/maskApi.c). Run lengths
count pixels down the columns, alternately outside and inside, starting outside.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.errors import DatasetError


def decode_segmentation(segmentation: Any, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the mask, (H, W) bool.

    Args:
        segmentation: a list of polygons [x0, y0, x1, y1, …], or {"counts": …}.
        size_hw: of the image.

    Raises:
        DatasetError: if it is none of the three.
    """
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, size_hw)
    if not isinstance(segmentation, dict) or "counts" not in segmentation:
        raise DatasetError("a segmentation is neither a list of polygons nor run lengths")
    counts = segmentation["counts"]
    return _from_runs(_unpacked(counts) if isinstance(counts, str) else counts, size_hw)


def _from_polygons(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2)
        if not (corners.size and np.isfinite(corners).all()):
            raise DatasetError("a polygon has no corners, or one that is no pair of numbers")
        _fill(mask, corners)
    return mask


def _fill(mask: np.ndarray, corners: np.ndarray) -> None:
    """Mark the pixels whose centres lie inside a polygon, in place.

    Not cv2.fillPoly, which fills the outline as well: objects come out a pixel too fat. A centre is
    inside if the outline is crossed an odd number of times on the way to it from the left.

    Args:
        mask: (H, W) bool.
        corners: (N, 2) x and y of each.
    """
    height, width = mask.shape
    x, y = corners.T - 0.5  # pixel centres lie at half coordinates
    ends = np.stack([y, np.roll(y, -1)])
    first, last = np.ceil(np.clip(np.sort(ends, axis=0), 0, height)).astype(np.int64)
    rises = np.divide(np.roll(x, -1) - x, ends[1] - y, out=np.zeros_like(x), where=ends[1] != y)
    # Each edge crosses the rows from its first on; the last is the next edge's.
    count = last - first
    if not count.any():
        return
    edge = np.repeat(np.arange(len(corners)), count)
    row = np.arange(len(edge)) + (first - (count.cumsum() - count))[edge]
    crossing = x[edge] + (row - y[edge]) * rises[edge]
    column = np.ceil(np.clip(crossing, 0, width)).astype(np.int64)
    top, left = row.min(), column.min()
    crossings = np.zeros((row.max() + 1 - top, column.max() + 1 - left), np.uint8)
    np.add.at(crossings, (row - top, column - left), 1)
    inside = np.cumsum(crossings, axis=1, dtype=np.uint8) % 2 == 1
    # Right of the last crossing is outside, whether or not the image goes on there.
    mask[top : row.max() + 1, left : column.max()] |= inside[:, :-1]


def _from_runs(counts: Sequence[int], size_hw: tuple[int, int]) -> np.ndarray:
    inside = np.arange(len(counts)) % 2 == 1
    flat = np.repeat(inside, counts)
    if flat.size != size_hw[0] * size_hw[1]:
        raise DatasetError(f"run lengths cover {flat.size} pixels of {size_hw[0] * size_hw[1]}")
    return flat.reshape(size_hw[::-1]).T


def _unpacked(text: str) -> list[int]:
    """Read run lengths from text: 5 bits a character, differences from the fourth on."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    return counts
