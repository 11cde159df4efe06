"""How sure a mean over objects is.

Objects of one image are alike: a hundred nuclei on one slide are one observation more than a
hundred. So the bootstrap draws images, with all their objects. Of a few images no resampled mean
leaves the range of theirs, which often misses the truth; there the interval is Student's.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.object_names import image_of

DRAWS = 5000
_FEWEST_TO_RESAMPLE = 6


def interval_over_images(
    values: NDArray[np.generic],
    names: Sequence[str],
    within: tuple[float, float],
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the 95 % interval of a mean over objects, resampling whole images.

    Percentiles of resampled means make an interval that is too narrow where images are few; they
    are taken further out, as far as Student's t and the bias of the variance ask for (Hesterberg,
    "What Teachers Should Know About the Bootstrap", 2015, section 4: expanded percentiles).

    Args:
        values: (N,) or (N, K), one row an object.
        names: of the objects.
        within: the least and the most that a value can be.
        draws: resampled means.
        seed: of the resampling.

    Returns:
        Two arrays, () or (K,). A single image says nothing of others: there they are `within`.
    """
    images = [image_of(name) for name in names]
    _, group, counts = np.unique(np.array(images), return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, group, values)
    if len(counts) < _FEWEST_TO_RESAMPLE:
        low, high = _students(sums, counts)
    else:
        times = _times_drawn(len(counts), draws, seed)
        means = (times @ sums).T / (times @ counts)
        tail = _expanded_tail(len(counts))
        low, high = np.percentile(means, [100 * tail, 100 * (1 - tail)], axis=-1)
    return np.clip(low, *within), np.clip(high, *within)


def _students(
    sums: NDArray[np.float64], counts: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of Student's interval of a ratio of sums over images."""
    images, objects = len(counts), counts.sum()
    mean = sums.sum(axis=0) / objects
    if images < 2:
        return np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    apart = sums - np.multiply.outer(counts, mean)
    error = np.sqrt(images / (images - 1) * np.square(apart).sum(axis=0)) / objects
    reach = special.stdtrit(images - 1, 0.975) * error
    return mean - reach, mean + reach


def _times_drawn(images: int, draws: int, seed: int) -> NDArray[np.int_]:
    """Return how often each image is in each resampled set, (draws, images)."""
    drawn = np.random.default_rng(seed).integers(images, size=(draws, images))
    cells = (drawn + images * np.arange(draws)[:, None]).ravel()
    return np.bincount(cells, minlength=draws * images).reshape(draws, images)


def _expanded_tail(images: int) -> float:
    """Return how much of the resampled means to leave out at either end; 0.025 for many images."""
    widened = np.sqrt(images / (images - 1)) * special.stdtrit(images - 1, 0.975)
    return float(special.ndtr(-widened))
