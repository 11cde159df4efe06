"""GrabCut, Berkeley, DAVIS and COCO_MVal in the layout of RITM's releases."""

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.datasets.benchmarks import published_size
from training.datasets.single_object import LAYOUTS, SingleObjectImages
from training.errors import DatasetError


def opened(name: str, root: Path) -> SingleObjectImages:
    return SingleObjectImages(root, LAYOUTS[name])


def write(path: Path, pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.asarray(pixels, dtype=np.uint8))


def test_grabcut_reads_128_as_ignored_and_brighter_as_object(tmp_path):
    write(tmp_path / "data_GT/cow.bmp", np.zeros((2, 3, 3)))
    write(tmp_path / "boundary_GT/cow.bmp", [[0, 64, 127], [128, 129, 255]])

    (sample,) = list(opened("GrabCut", tmp_path))

    assert sample.name == "cow"
    assert sample.target.tolist() == [[0, 0, 0], [-1, 1, 1]]
    assert sample.target.dtype == np.int8


def test_images_come_as_rgb(tmp_path):
    blue_green_red = np.full((4, 5, 3), (10, 20, 30))
    write(tmp_path / "images/a.png", blue_green_red)
    write(tmp_path / "masks/a.png", np.full((4, 5), 255))

    assert opened("Berkeley", tmp_path)[0].image[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("name", ["DAVIS", "COCO_MVal"])
def test_anything_bright_in_any_channel_is_the_object(tmp_path, name):
    mask = np.zeros((2, 2, 3))
    mask[0, 0, 2] = 1
    mask[1, 1, 0] = 224
    write(tmp_path / "img/000.jpg", np.zeros((2, 2, 3)))
    write(tmp_path / "gt/000.png", mask)

    assert opened(name, tmp_path)[0].target.tolist() == [[1, 0], [0, 1]]


def test_a_mask_without_an_object_is_refused(tmp_path):
    """Counted, it would be an object that no click finds. Small ids of 16 bits are read as 0."""
    write(tmp_path / "images/a.png", np.zeros((2, 2, 3)))
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks/a.png"), np.full((2, 2), 7, np.uint16))

    with pytest.raises(DatasetError, match=r"masks/a\.png marks no object"):
        opened("Berkeley", tmp_path)[0]


def test_an_image_too_large_for_opencv_is_refused(tmp_path):
    write(tmp_path / "masks/a.png", np.full((2, 2), 255))
    (tmp_path / "images").mkdir()
    header = struct.pack(
        "<2sIHHIIIIHHIIIIII", b"BM", 54, 0, 0, 54, 40, 33000, 33000, 1, 24, *[0] * 6
    )
    (tmp_path / "images/a.bmp").write_bytes(header)

    with pytest.raises(DatasetError, match=r"images/a\.bmp (cannot be decoded|is not a readable)"):
        opened("Berkeley", tmp_path)[0]


def test_samples_are_sorted_and_hidden_files_skipped(tmp_path):
    for name in ["b", "a"]:
        write(tmp_path / f"images/{name}.jpg", np.zeros((2, 2, 3)))
        write(tmp_path / f"masks/{name}.png", np.full((2, 2), 255))
    (tmp_path / "images/._a.jpg").write_bytes(b"left by an archiver")

    assert [sample.name for sample in opened("Berkeley", tmp_path)] == ["a", "b"]


def test_a_missing_folder_names_what_was_expected_and_the_source(tmp_path):
    with pytest.raises(DatasetError, match=r"no folder .*data_GT; expected 50 images .*RITM"):
        opened("GrabCut", tmp_path)


def test_an_image_without_mask_looks_half_unpacked(tmp_path):
    for name in ["a", "b"]:
        write(tmp_path / f"images/{name}.jpg", np.zeros((2, 2, 3)))
    write(tmp_path / "masks/a.png", np.zeros((2, 2)))

    with pytest.raises(DatasetError, match=r"1 files have no partner .*'b'.*half-unpacked"):
        opened("Berkeley", tmp_path)


def test_empty_folders_are_refused(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "gt").mkdir()

    with pytest.raises(DatasetError, match="holds no images"):
        opened("DAVIS", tmp_path)


def test_a_mask_of_another_size_is_refused(tmp_path):
    write(tmp_path / "images/a.jpg", np.zeros((2, 2, 3)))
    write(tmp_path / "masks/a.png", np.zeros((3, 2)))

    with pytest.raises(DatasetError, match=r"is \(3, 2\) .* its image \(2, 2\)"):
        opened("Berkeley", tmp_path)[0]


def test_a_damaged_image_is_named(tmp_path):
    write(tmp_path / "masks/a.png", np.zeros((2, 2)))
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(b"half a file")

    with pytest.raises(DatasetError, match=r"a\.jpg is not a readable image"):
        opened("Berkeley", tmp_path)[0]


@pytest.mark.parametrize("name", ["GrabCut", "Berkeley", "DAVIS"])
def test_the_releases_have_their_published_sizes(name):
    data = os.environ.get("ICMFORMER_DATA")
    if not data:
        pytest.skip("needs ICMFORMER_DATA")

    dataset = opened(name, Path(data) / "benchmarks" / name)

    assert len(dataset) == published_size(name)
    assert set(np.unique(dataset[0].target)) <= {-1, 0, 1}
