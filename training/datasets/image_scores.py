"""How often each image is drawn, from RITM's scores of how well its earlier model did on it.

RITM distributes those of SBD as `sbd_samples_weights.pkl`: a list of (number of the image, …,
score).
"""

from pathlib import Path

import numpy as np

from training.datasets.plain_pickle import load_plain_pickle
from training.errors import DatasetError

# RITM's: `samples_scores_gamma` in its training scripts for SBD.
_EXPONENT = 1.25


def read_image_weights(path: Path, images: int) -> np.ndarray:
    """Return the relative probability of each image, (N,) float64: (1 - score) ** 1.25.

    Args:
        path: of the scores.
        images: N, how many the data set has; those without a score are not drawn.

    Raises:
        DatasetError: if the file cannot be read or does not fit the data set.
    """
    content = load_plain_pickle(path)
    try:
        scores = {int(row[0]): float(row[2]) for row in content}
    except (TypeError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} is not a list of (image, …, score): {error}") from error
    weights = np.zeros(images)
    for index, score in scores.items():
        if not 0 <= index < images or not 0 <= score <= 1:
            raise DatasetError(f"{path} gives image {index} of {images} the score {score}")
        weights[index] = (1 - score) ** _EXPONENT
    if not weights.any():
        raise DatasetError(f"{path} leaves no image to draw")
    return weights
