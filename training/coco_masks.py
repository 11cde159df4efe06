"""COCO's three ways to write a mask: polygons, run lengths, and run lengths packed into text.

The format is that of the COCO API (github.com/cocodataset/cocoapi, common/maskApi.c). Run lengths
count pixels down the columns, alternately outside and inside, starting outside.
"""

from collections.abc import Sequence
from typing import Any

import cv2
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
    mask = np.zeros(size_hw, np.uint8)
    for polygon in polygons:
        # Pixel centres lie at half coordinates; four binary digits of fraction are kept.
        corners = (np.asarray(polygon, np.float64).reshape(-1, 2) - 0.5) * 16
        cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1, shift=4)
    return mask > 0


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
