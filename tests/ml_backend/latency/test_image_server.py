import io

import numpy as np
import pytest
import requests
from PIL import Image

from ml_backend.errors import LocalServerError
from ml_backend.latency.image_server import image_server, shown_images
from tests.waiting import PATIENCE
from training.datasets.sample import EvaluationSample


@pytest.fixture
def folder(tmp_path):
    """Make a grey photo with a bright object at the top left, and one with nothing in it."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    ids = np.zeros((40, 60), np.uint8)
    for name in ("empty", "object"):
        Image.fromarray(np.stack([60 + 190 * ids] * 3, axis=2)).save(
            tmp_path / "images" / f"{name}.png"
        )
        Image.fromarray(ids).save(tmp_path / "masks" / f"{name}.png")
        ids[2:20, 4:30] = 1
    return tmp_path


def bright(sample: EvaluationSample) -> np.ndarray:
    return sample.image[:, :, 0] > 128


def test_each_object_is_on_three_images_of_which_two_are_flipped_with_their_masks(folder):
    shown = shown_images(folder)
    assert len({task.address for task in shown}) == len(shown) == 3
    for task in shown:
        np.testing.assert_array_equal(task.sample.target == 1, bright(task.sample))
    corners = [np.argwhere(task.sample.target)[0].tolist() for task in shown]
    assert corners == [[2, 4], [2, 30], [20, 4]]


def test_the_server_shows_what_annotators_see(folder):
    shown = shown_images(folder)
    with image_server(shown) as address:
        for task in shown:
            content = requests.get(address + task.address, timeout=PATIENCE).content
            seen = np.asarray(Image.open(io.BytesIO(content)))
            assert np.abs(seen.astype(int) - task.sample.image).mean() < 3  # of JPEG
        assert requests.get(f"{address}/api/projects/1/", timeout=PATIENCE).status_code == 404


def test_masks_without_an_object_are_refused(folder):
    for kind in ("images", "masks"):
        (folder / kind / "object.png").unlink()
    with pytest.raises(LocalServerError, match="no object to click on"):
        shown_images(folder)
