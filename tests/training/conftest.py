"""What the tests of training share."""

import cv2
import numpy as np
import pytest

from tests import golden_networks


@pytest.fixture(scope="session")
def golden_misc():
    """Values of the original implementation; see tests/golden/ORIGIN.md."""
    return golden_networks.load("misc")


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder of six pictures with bright shapes on dark noise, and their instance ids."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    for number in range(6):
        image = rng.integers(0, 60, (72, 88, 3), dtype=np.uint8)
        ids = np.zeros((72, 88), np.uint8)
        for instance in (1, 2, 3):
            top, left = rng.integers(0, 48), rng.integers(0, 60)
            ids[top : top + 22, left : left + 26] = instance
        for instance in (1, 2, 3):
            image[ids == instance] = rng.integers(120, 255, 3)
        ids[-4:, -4:] = 255
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), ids)
    return folder
