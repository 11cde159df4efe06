"""Outlines that follow what the image shows: the guided filter (He, Sun and Tang, ECCV 2010).

The network answers at a quarter of its input, so its outlines run between the pixels that it saw.
Around each pixel the answer is fitted by a linear function of the colours there, and is that where
the network itself is unsure. docs/experiments.md has what it gives.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from icmformer.region_of_interest import RegionOfInterest, bounding_box

Planes = Sequence[np.ndarray]  # (h, w) float32 each

# In pixels of the network, one of whose answers is 4 pixels long.
_RADIUS = 4
# Variance of colours in [0, 1] below which nothing is an edge.
_EPSILON = 1e-4
# Where the network is as sure as this, its answer stays.
_SURE = 0.98


def following_edges(probability: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return an answer whose outline follows the edges of the image.

    Args:
        probability: (h, w) float32 in [0, 1], at the network's resolution.
        image: (h, w, 3) uint8 RGB, as the network saw it.

    Returns:
        (h, w) float32 in [0, 1]: a new array, or `probability` itself where all of it is sure.
    """
    unsure = (probability > 1 - _SURE) & (probability < _SURE)
    box = bounding_box(unsure)
    if box is None:
        return probability
    # All that what is inside the box depends on: a pixel is in windows around others.
    window = _grown(box, 2 * _RADIUS, probability.shape[:2]).slices
    result = probability.copy()
    answer = _filtered(probability[window], image[window])
    np.copyto(result[window], answer, where=unsure[window])
    return result


def _filtered(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the filter's answer to (h, w) values, guided by (h, w, 3) uint8 colours."""
    # As planes of their own: strided channels take twice as long.
    colours = [np.divide(image[..., channel], 255, dtype=np.float32) for channel in range(3)]
    mean_colours, mean_value = [_mean(colour) for colour in colours], _mean(values)
    covariances = [
        _mean(colour * values) - mean * mean_value
        for colour, mean in zip(colours, mean_colours, strict=True)
    ]
    slopes = _solved(_colour_variance(colours, mean_colours), covariances)
    intercept = mean_value - _dot(slopes, mean_colours)
    answer = _dot([_mean(slope) for slope in slopes], colours) + _mean(intercept)
    return np.clip(answer, 0, 1)


def _colour_variance(colours: Planes, means: Planes) -> Planes:
    """Return the upper triangle of each window's covariance of colours, row by row."""
    return [
        _mean(colours[i] * colours[j]) - means[i] * means[j] + np.float32(_EPSILON * (i == j))
        for i in range(3)
        for j in range(i, 3)
    ]


def _solved(matrix: Planes, right: Planes) -> Planes:
    """Solve a symmetric system of three equations at each pixel, by its adjugate."""
    rr, rg, rb, gg, gb, bb = matrix
    first = [gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg]
    second = [first[1], rr * bb - rb * rb, rb * rg - rr * gb]
    third = [first[2], second[2], rr * gg - rg * rg]
    determinant = _dot([rr, rg, rb], first)
    return [_dot(row, right) / determinant for row in (first, second, third)]


def _dot(left: Planes, right: Planes) -> np.ndarray:
    return left[0] * right[0] + left[1] * right[1] + left[2] * right[2]


def _mean(planes: np.ndarray) -> np.ndarray:
    """Return the mean of the window around each pixel."""
    side = 2 * _RADIUS + 1
    return cv2.blur(planes, (side, side), borderType=cv2.BORDER_REFLECT)


def _grown(box: RegionOfInterest, by: int, size_hw: tuple[int, ...]) -> RegionOfInterest:
    return RegionOfInterest(
        max(box.row_min - by, 0),
        min(box.row_max + by, size_hw[0] - 1),
        max(box.column_min - by, 0),
        min(box.column_max + by, size_hw[1] - 1),
    )
