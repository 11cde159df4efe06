"""How often each image is drawn, from scores of how well an earlier model did on it.

RITM draws SBD's images with probability proportional to (1 - score) ** 1.25; it distributes the
scores as `sbd_samples_weights.pkl`, a list of (number of the image, …, score). Scores of one's own
are a JSON object of image name and score.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.datasets.plain_pickle import load_plain_pickle
from training.errors import DatasetError


def read_image_weights(path: Path, names: Sequence[str], exponent: float) -> np.ndarray:
    """Return the relative probability of each image, (N,) float64.

    Args:
        path: of the scores, .json or .pkl.
        names: of all images of the data set; those without a score are not drawn.
        exponent: of one minus the score.

    Raises:
        DatasetError: if the file cannot be read or does not fit the data set.
    """
    scores = _from_json(path, names) if path.suffix == ".json" else _from_pickle(path)
    weights = np.zeros(len(names))
    for index, score in scores.items():
        if not 0 <= index < len(names) or not 0 <= score <= 1:
            raise DatasetError(f"{path} gives image {index} of {len(names)} the score {score}")
        weights[index] = (1 - score) ** exponent
    if not weights.any():
        raise DatasetError(f"{path} leaves no image to draw")
    return weights


def _from_json(path: Path, names: Sequence[str]) -> dict[int, float]:
    try:
        content = json.loads(path.read_text())
        by_name = {name: float(score) for name, score in content.items()}
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    except (AttributeError, TypeError) as error:
        raise DatasetError(f"{path} is no JSON object of image names and scores") from error
    places = {name: place for place, name in enumerate(names)}
    unknown = sorted(by_name.keys() - places.keys())
    if unknown:
        raise DatasetError(f"{path} scores {unknown[0]!r}, which is not in the data set")
    return {places[name]: score for name, score in by_name.items()}


def _from_pickle(path: Path) -> dict[int, float]:
    try:
        return {int(row[0]): float(row[2]) for row in load_plain_pickle(path)}
    except (TypeError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} is not a list of (image, …, score): {error}") from error
