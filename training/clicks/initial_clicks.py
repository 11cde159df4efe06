"""The clicks a training sample starts from.

RITM's multi-point sampler, which the authors use unchanged: random numbers of positive clicks
inside the object, and of negative clicks in the background, on other objects and along the border.
"""

import cv2
import numpy as np
from pydantic import BaseModel, Field, model_validator

from training.clicks.depth import exact_depth
from training.datasets.object_sampling import Target
from training.recipe_files import STRICT

EMPTY = -1
POSITIVE, NEGATIVE = 0, 1
_SQUARE = np.ones((3, 3), np.uint8)


class ClickSampling(BaseModel):
    """How the first clicks are drawn; the defaults are the authors'.

    Attributes:
        slots: most clicks of either sign.
        decay: the probability of n + 1 clicks over that of n.
        erosion_probability: of keeping positive clicks off the object's border.
        erosion: depth of that border, in pixels.
        background, other, border: how often a negative click falls anywhere outside, on another
            object, or in a ring around the target.
        ring: width of the ring, relative to the square root of the target's area.
        single: share of samples that start from one positive click alone, as annotators do.
        single_centre: share of those whose click is the centre of the object.
    """

    model_config = STRICT

    slots: int = Field(default=24, ge=1)
    decay: float = Field(default=0.8, gt=0, lt=1)
    erosion_probability: float = Field(default=0.9, ge=0, le=1)
    erosion: int = Field(default=3, ge=1, le=100)
    background: float = Field(default=0.1, ge=0)
    other: float = Field(default=0.4, ge=0)
    border: float = Field(default=0.5, ge=0)
    ring: float = Field(default=0.1, gt=0, le=10)
    single: float = Field(default=0.0, ge=0, le=1)
    single_centre: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _strategies_are_a_distribution(self) -> "ClickSampling":
        if abs(self.background + self.other + self.border - 1) > 1e-9:
            raise ValueError("background + other + border must be 1")
        return self


def sample_clicks(target: Target, options: ClickSampling, rng: np.random.Generator) -> np.ndarray:
    """Draw the clicks of one sample.

    Args:
        target: what is asked for; without parts all clicks are negative.
        options: see `ClickSampling`.
        rng: source of randomness.

    Returns:
        (2, slots, 2) int16: positive then negative clicks as (row, column), unused slots -1.
    """
    slots = np.full((2, options.slots, 2), EMPTY, np.int16)
    if target.parts and rng.random() < options.single:
        slots[POSITIVE, 0] = _single_click(target, options, rng)
        return slots
    for sign, points in (
        (POSITIVE, _positive_clicks(target, options, rng)),
        (NEGATIVE, _negative_clicks(target, options, rng)),
    ):
        if points:
            slots[sign, : len(points)] = points
    return slots


def object_centre(mask: np.ndarray) -> tuple[int, int]:
    """Return (row, column) of the pixel deepest inside the mask; the image's edge is an edge."""
    depth = exact_depth(mask)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)


def _single_click(
    target: Target, options: ClickSampling, rng: np.random.Generator
) -> tuple[int, int]:
    if rng.random() < options.single_centre:
        return object_centre(target.mask)
    return _draw(_eroded(target.mask, options, rng), rng)


def _positive_clicks(
    target: Target, options: ClickSampling, rng: np.random.Generator
) -> list[tuple[int, int]]:
    if not target.parts:
        return []
    parts = [_eroded(part, options, rng) for part in target.parts]
    if len(parts) == 1:
        return [_draw(parts[0], rng) for _ in range(1 + _count(options, rng, options.slots - 1))]
    points = [_draw(part, rng) for part in parts]
    more = [
        _draw(parts[rng.integers(len(parts))], rng)
        for _ in range(_count(options, rng, options.slots))
    ]
    return (points + more)[: options.slots]


def _negative_clicks(
    target: Target, options: ClickSampling, rng: np.random.Generator
) -> list[tuple[int, int]]:
    count = _count(options, rng, options.slots)
    probabilities = (options.background, options.other, options.border)
    strategies = rng.choice(3, size=count, p=probabilities)
    regions: dict[int, np.ndarray] = {}
    points = []
    for strategy in strategies:
        if strategy not in regions:
            regions[strategy] = np.flatnonzero(_negative_region(int(strategy), target, options))
        if len(regions[strategy]):
            points.append(_pixel(regions[strategy], target.mask.shape[1], rng))
    return points


def _negative_region(strategy: int, target: Target, options: ClickSampling) -> np.ndarray:
    outside = ~(target.mask | target.ignored)
    if not target.parts:
        return outside & ~target.others
    if strategy == 0:
        return outside
    if strategy == 1:
        return target.others & ~target.ignored
    iterations = int(np.ceil(options.ring * np.sqrt(target.mask.sum())))
    return (cv2.dilate(target.mask.astype(np.uint8), _SQUARE, iterations=iterations) > 0) & outside


def _eroded(mask: np.ndarray, options: ClickSampling, rng: np.random.Generator) -> np.ndarray:
    """Return the mask without its border, unless chance or a small object forbids it."""
    if rng.random() < options.erosion_probability:
        core = cv2.erode(mask.astype(np.uint8), _SQUARE, iterations=options.erosion)
        if cv2.countNonZero(core) > 10:
            return core > 0
    return mask


def _count(options: ClickSampling, rng: np.random.Generator, most: int) -> int:
    """Draw n in 0…most with probability proportional to decay ** n."""
    total = 1.0 - options.decay ** (most + 1)
    # Inverse of the cumulative distribution (1 - decay ** (n + 1)) / total.
    return int(np.floor(np.log1p(-rng.random() * total) / np.log(options.decay)))


def _draw(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    return _pixel(np.flatnonzero(mask), mask.shape[1], rng)


def _pixel(flat: np.ndarray, width: int, rng: np.random.Generator) -> tuple[int, int]:
    row, column = divmod(int(flat[rng.integers(len(flat))]), width)
    return row, column
