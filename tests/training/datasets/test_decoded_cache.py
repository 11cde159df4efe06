"""Decoded images in a cache: the same as without it, whole, and written anew when need be."""

import os
import pickle
import socket
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

from training.datasets.decoded_cache import decoded
from training.datasets.image_folder import ImageFolder
from training.datasets.large_images import CloseUps, Shrunk
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError


def test_the_cache_holds_the_same_and_is_kept(folder, tmp_path):
    dataset = ImageFolder(folder)
    cached = decoded(dataset, tmp_path / "cache", "1", Shrunk(None))
    written = (tmp_path / "cache" / "pixels.u8").stat().st_mtime_ns

    again = decoded(dataset, tmp_path / "cache", "1", Shrunk(None))

    assert (tmp_path / "cache" / "pixels.u8").stat().st_mtime_ns == written
    for kept in (cached, again):
        assert len(kept) == 2
        assert kept[1].name == dataset[1].name
        assert kept[1].objects == dataset[1].objects
        np.testing.assert_array_equal(kept[1].image, dataset[1].image)
        np.testing.assert_array_equal(kept[1].layers, dataset[1].layers)


@pytest.mark.parametrize("side", [120, 89])
def test_shrunk_masks_stay_on_their_objects(folder, tmp_path, side):
    """To a tenth of a pixel on average; a mask's own outline is uncertain by half a pixel."""
    rows, columns = np.mgrid[:310, :310]
    shifts = []
    for number in range(40):
        row, column = np.random.default_rng(number).uniform(80, 230, size=2)
        disc = (rows - row) ** 2 + (columns - column) ** 2 < 60**2
        image = np.repeat(np.where(disc, 255, 0)[..., None], 3, axis=2).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / "a.webp", lossless=True)
        Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / "a.png")
        small = decoded(ImageFolder(folder), tmp_path / f"{number}", "1", Shrunk(side))[0]
        weights = small.image[..., 0] / 255.0, small.layers[..., 0] > 0
        shown, said = (
            np.array([(w * axis).sum() / w.sum() for axis in np.mgrid[:side, :side]])
            for w in weights
        )
        shifts.append(said - shown)
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.1


def test_parts_of_images_are_images_of_their_own(tmp_path):
    ids = np.zeros((300, 200, 1), np.int32)
    ids[10:14, 10:14], ids[280:284, 180:184] = 1, 40_000
    whole = AnnotatedImage("a", np.zeros((300, 200, 3), np.uint8), ids, ((0, 1), (0, 40_000)))
    small = AnnotatedImage("b", np.ones((9, 9, 3), np.uint8), ids[10:19, 10:19], ((0, 1),))
    cached = decoded([whole, small], tmp_path / "cache", "1", CloseUps(64, images=2))
    assert [each.image.shape for each in cached] == [(64, 64, 3), (64, 64, 3), (9, 9, 3)]
    assert [each.objects for each in cached] == [((0, 1),), ((0, 40_000),), ((0, 1),)]
    assert [set(np.unique(each.layers)) for each in cached] == [{0, 1}, {0, 40_000}, {0, 1}]


@pytest.mark.parametrize("max_side", [None, 20])
def test_the_cache_keeps_large_ids_apart_from_ignored_pixels(folder, tmp_path, max_side):
    ids = np.zeros((30, 40), np.uint16)
    ids[:6, :6], ids[10:20, 10:20], ids[24:, 30:] = 255, 33_001, 65_535
    cv2.imwrite(str(folder / "masks" / "a.png"), ids)

    cached = decoded(ImageFolder(folder), tmp_path / "cache", "1", Shrunk(max_side))

    assert cached[0].objects == ((0, 255), (0, 33_001), (0, 65_535))
    assert set(np.unique(cached[0].layers)) == {0, 255, 33_001, 65_535}
    assert set(np.unique(cached[1].layers)) == {-1, 0, 1, 7}


def test_a_cache_travels_to_other_processes_without_its_content(folder, tmp_path):
    cached = decoded(ImageFolder(folder), tmp_path / "cache", "1", Shrunk(None))

    travelling = pickle.dumps(cached)

    assert len(travelling) < 1000
    np.testing.assert_array_equal(pickle.loads(travelling)[1].image, cached[1].image)


def test_the_cache_is_written_anew_when_the_data_or_the_size_changes(folder, tmp_path):
    dataset = ImageFolder(folder)
    decoded(dataset, tmp_path / "cache", "1", Shrunk(None))

    small = decoded(dataset, tmp_path / "cache", "2", Shrunk(20))

    assert small[0].image.shape == (15, 20, 3)
    assert small[0].layers.shape == (15, 20, 1)
    assert set(np.unique(small[0].layers)) == {-1, 0, 1, 7}


@pytest.mark.parametrize("name", ["index.json", "pixels.u8", "ids.i16"])
@pytest.mark.parametrize("left", [None, 0, 10])
def test_a_damaged_cache_is_written_anew(folder, tmp_path, name, left):
    whole = decoded(ImageFolder(folder), tmp_path / "cache", "1", Shrunk(None))[1].image.copy()
    file = tmp_path / "cache" / name
    if left is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:left])

    again = decoded(ImageFolder(folder), tmp_path / "cache", "1", Shrunk(None))

    np.testing.assert_array_equal(again[1].image, whole)


def test_a_cache_keeps_nothing_of_writers_that_failed_or_were_killed(folder, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    killed = subprocess.Popen(["true"])
    killed.wait()
    here = socket.gethostname()
    for writer in (f"{here}-{killed.pid}", f"{here}-{os.getppid()}", f"elsewhere-{killed.pid}"):
        (cache / f"pixels.u8.{writer}").touch()
    alive = {f"pixels.u8.{here}-{os.getppid()}", f"pixels.u8.elsewhere-{killed.pid}"}
    intact = (folder / "images" / "b.webp").read_bytes()
    (folder / "images" / "b.webp").write_bytes(b"half")

    with pytest.raises(DatasetError, match="damaged"):
        decoded(ImageFolder(folder), cache, "1", Shrunk(None))
    assert {file.name for file in cache.iterdir()} == alive

    (folder / "images" / "b.webp").write_bytes(intact)
    decoded(ImageFolder(folder), cache, "1", Shrunk(None))
    assert {file.name for file in cache.iterdir()} - alive == {
        "ids.i16", "index.json", "pixels.u8"
    }  # fmt: skip
