"""What the tests of several data sets read."""

import cv2
import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """Two images with two objects and ignored pixels each."""
    root = tmp_path / "photos"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.webp", lossless=True)
        ids = np.zeros((30, 40), np.uint8)
        ids[5:15, 5:15], ids[20:25, 20:40], ids[:2] = 1, 7, 255
        cv2.imwrite(str(root / "masks" / f"{name}.png"), ids)
    return root
