"""Our own format for images whose objects overlap."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.training.shapes_recipe import a_recipe
from training.datasets.layered_folder import LayeredFolder, write_layers
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError
from training.loop.training_data import open_mixture


@pytest.fixture
def folder(tmp_path):
    """One photo: two objects and a sky in one layer, a part in another."""
    image = np.full((20, 30, 3), 90, np.uint8)
    layers = np.zeros((20, 30, 2), np.int16)
    layers[8:18, 2:12, 0], layers[8:18, 20:28, 0], layers[:5, :, 0] = 1, 2, 3
    layers[10:14, 4:8, 1] = 1
    sample = AnnotatedImage("9", image, layers, objects=((0, 1), (0, 2)), stuff=((0, 3),))
    cv2.imwrite(str(tmp_path / "photo.jpg"), image)
    (tmp_path / "layers").mkdir()
    line = write_layers(tmp_path, sample, Path("photo.jpg"))
    (tmp_path / "index.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path


def test_layers_come_back_as_they_were_written(folder):
    sample = LayeredFolder(folder)[0]

    assert (sample.objects, sample.stuff) == (((0, 1), (0, 2)), ((0, 3),))
    assert (sample.layers[8:18, 20:28, 0] == 2).all()
    assert np.argwhere(sample.layers[:, :, 1]).min(axis=0).tolist() == [10, 4]


def test_ids_may_be_as_large_as_16_bits_hold(folder):
    layers = np.zeros((20, 30, 1), np.int32)
    layers[2:5, 3:9] = 65535
    image = np.full((20, 30, 3), 90, np.uint8)
    line = write_layers(
        folder, AnnotatedImage("9", image, layers, ((0, 65535),)), Path("photo.jpg")
    )
    (folder / "index.jsonl").write_text(json.dumps(line) + "\n")

    np.testing.assert_array_equal(LayeredFolder(folder)[0].layers, layers)


def test_layers_without_their_photos_are_refused_at_once(folder):
    (folder / "photo.jpg").unlink()

    with pytest.raises(DatasetError, match=r"1 of the 2 files .* are not there.*put the photos"):
        LayeredFolder(folder)


def test_the_decoded_cache_notices_another_photo(folder, shapes, tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    (folder / "photo.jpg").rename(photos / "photo.png")
    index = folder / "index.jsonl"
    entry = json.loads(index.read_text()) | {"image": str(photos / "photo.png")}
    index.write_text(json.dumps(entry) + "\n")
    data = {"root": folder, "parts": [{"kind": "layered_folder", "path": "."}]}
    recipe = a_recipe(shapes, photos / "run", data=data | {"cache": photos / "cache"})
    for grey in (10, 200):
        cv2.imwrite(str(photos / "photo.png"), np.full((20, 30, 3), grey, np.uint8))
        assert (open_mixture(recipe).parts[0].dataset[0].image == grey).all()


def test_an_index_of_another_kind_is_refused_by_its_line(folder):
    index = folder / "index.jsonl"
    index.write_text(index.read_text() + '{"name": "000000000010"}\n')

    with pytest.raises(DatasetError, match=r"line 2 of .*index\.jsonl is no object with image, "):
        LayeredFolder(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 7},
        {"layers": "x"},
        {"objects": [[0]]},
        {"objects": 5},
        {"objects": [[9, 1]]},
        {"objects": [[0, 99]]},
        {"stuff": [[0, 0]]},
        {"stuff": [["x", 1]]},
    ],
)
def test_an_index_that_does_not_fit_its_layers_is_refused(folder, change):
    index = folder / "index.jsonl"
    index.write_text(json.dumps({**json.loads(index.read_text()), **change}) + "\n")

    with pytest.raises(DatasetError, match=r"9\.png and its line of index\.jsonl do not belong"):
        LayeredFolder(folder)[0]
