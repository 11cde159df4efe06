"""Outlines that follow what the image shows: the guided filter (He, Sun and Tang, ECCV 2010).

The network answers at a quarter of its input, so its outlines run between the pixels that it saw.
Around each pixel the answer is fitted by a linear function of the colours there, and is that where
the network itself is unsure. docs/experiments.md has what it gives.
"""

import cv2
import numpy as np

from icmformer.region_of_interest import RegionOfInterest, bounding_box

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
    colours = np.divide(image[window], 255, dtype=np.float32)
    result = probability.copy()
    np.copyto(result[window], _filtered(probability[window], colours), where=unsure[window])
    return result


def _filtered(values: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return the filter's answer to (h, w) values, guided by (h, w, 3) colours in [0, 1]."""
    mean_colour, mean_value = _mean(colours), _mean(values)
    covariance = _mean(colours * values[..., None]) - mean_colour * mean_value[..., None]
    slope = _solved(_colour_variance(colours, mean_colour), covariance)
    intercept = mean_value - (slope * mean_colour).sum(axis=2)
    answer = (_mean(slope) * colours).sum(axis=2) + _mean(intercept)
    return np.clip(answer, 0, 1)


def _colour_variance(colours: np.ndarray, mean: np.ndarray) -> list[np.ndarray]:
    """Return the upper triangle of each window's covariance of colours, row by row."""
    return [
        _mean(colours[..., i] * colours[..., j])
        - mean[..., i] * mean[..., j]
        + (_EPSILON if i == j else 0)
        for i in range(3)
        for j in range(i, 3)
    ]


def _solved(matrix: list[np.ndarray], right: np.ndarray) -> np.ndarray:
    """Solve a symmetric system of three equations at each pixel, by its adjugate."""
    rr, rg, rb, gg, gb, bb = matrix
    first = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    second = first[1], rr * bb - rb * rb, rb * rg - rr * gb
    third = first[2], second[2], rr * gg - rg * rg
    determinant = rr * first[0] + rg * first[1] + rb * first[2]
    columns = np.moveaxis(right, 2, 0)
    rows = [sum(a * b for a, b in zip(row, columns, strict=True)) for row in (first, second, third)]
    return np.stack(rows, axis=2) / determinant[..., None]


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
