"""How sure a mean over objects is.

Objects of one image are alike: a hundred nuclei on one slide are one observation more than a
hundred. So the bootstrap draws images, with all their objects.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.datasets.sample import image_of

DRAWS = 5000


def interval_over_images(
    values: NDArray[np.generic], names: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the 95 % interval of a mean over objects, resampling whole images.

    Percentiles of resampled means make an interval that is too narrow where images are few; they
    are taken further out, as far as Student's t and the bias of the variance ask for (Hesterberg,
    "What Teachers Should Know About the Bootstrap", 2015, section 4: expanded percentiles).

    Args:
        values: (N,) or (N, K), one row an object.
        names: of the objects.
        draws: resampled means.
        seed: of the resampling.

    Returns:
        Two arrays, () or (K,). With a single image there is only one mean, which both are.
    """
    images = [image_of(name) for name in names]
    _, group, counts = np.unique(np.array(images), return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, group, values)
    times = _times_drawn(len(counts), draws, seed)
    means = (times @ sums).T / (times @ counts)
    tail = _expanded_tail(len(counts))
    low, high = np.percentile(means, [100 * tail, 100 * (1 - tail)], axis=-1)
    return low, high


def _times_drawn(images: int, draws: int, seed: int) -> NDArray[np.int_]:
    """Return how often each image is in each resampled set, (draws, images)."""
    drawn = np.random.default_rng(seed).integers(images, size=(draws, images))
    cells = (drawn + images * np.arange(draws)[:, None]).ravel()
    return np.bincount(cells, minlength=draws * images).reshape(draws, images)


def _expanded_tail(images: int) -> float:
    """Return how much of the resampled means to leave out at either end; 0.025 for many images."""
    if images < 2:
        return 0.0
    widened = np.sqrt(images / (images - 1)) * special.stdtrit(images - 1, 0.975)
    return float(special.ndtr(-widened))
