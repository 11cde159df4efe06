"""DAVIS345: the frames of DAVIS (Perazzi et al. 2016) that BRS chose (Jang & Kim 2019)."""

from pathlib import Path

import numpy as np

from training.datasets.single_object import Layout, SingleObjectImages


def davis(root: Path) -> SingleObjectImages:
    """Open DAVIS345 in the layout of RITM's release.

    Raises:
        DatasetError: if it is missing or half-unpacked.
    """
    return SingleObjectImages(root, LAYOUT)


def anything_bright(mask: np.ndarray) -> np.ndarray:
    """Return 1 where any channel is above zero, else 0: all moving objects count as one."""
    return (mask > 0).astype(np.int8)


LAYOUT = Layout(
    images="img",
    masks="gt",
    to_target=anything_bright,
    published_size=345,
    source="DAVIS.zip is linked from the README of RITM (SamsungLabs on GitHub)",
)
