"""GrabCut (Rother et al. 2004): 50 images, one object each, with a band of unknown pixels."""

from pathlib import Path

import numpy as np

from training.datasets.sample import IGNORE
from training.datasets.single_object import Layout, SingleObjectImages

_UNKNOWN = 128


def grabcut(root: Path) -> SingleObjectImages:
    """Open GrabCut in the layout of RITM's release.

    Raises:
        DatasetError: if it is missing or half-unpacked.
    """
    return SingleObjectImages(root, LAYOUT)


def object_beyond_unknown(mask: np.ndarray) -> np.ndarray:
    """Return 1 above grey 128, -1 at 128 and 0 below: the reading of RITM's evaluation."""
    target = (mask > _UNKNOWN).astype(np.int8)
    target[mask == _UNKNOWN] = IGNORE
    return target


LAYOUT = Layout(
    images="data_GT",
    masks="boundary_GT",
    to_target=object_beyond_unknown,
    published_size=50,
    source="GrabCut.zip is linked from the README of RITM (SamsungLabs on GitHub)",
)
