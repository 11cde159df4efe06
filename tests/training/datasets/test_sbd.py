"""SBD's objects and images, from .mat files as SBD packs them."""

import numpy as np
import pytest

from tests.training.datasets.sbd_files import write_sbd
from training.datasets.sbd import SBDImages, SBDObjects
from training.errors import DatasetError


@pytest.mark.parametrize("place", [".", "dataset", "benchmark_RELEASE/dataset"])
def test_every_object_is_a_sample_and_the_others_are_background(tmp_path, place):
    (tmp_path / "benchmark_RELEASE" / "dataset").mkdir(parents=True)  # moving files leaves folders
    write_sbd(tmp_path / place, {"2008_1": [[0, 1], [3, 1]], "2008_2": [[2, 2], [2, 0]]})

    samples = list(SBDObjects(tmp_path))

    assert [sample.name for sample in samples] == ["2008_1#1", "2008_1#3", "2008_2#2"]
    assert samples[0].target.tolist() == [[0, 1], [0, 1]]
    assert samples[1].target.tolist() == [[0, 0], [1, 0]]


def test_listed_images_without_files_look_half_unpacked(tmp_path):
    write_sbd(tmp_path, {"2008_1": [[0, 1]]}, names=["2008_1", "2008_2"])

    with pytest.raises(DatasetError, match=r"1 of the 2 images .*'2008_2'.*Berkeley"):
        SBDObjects(tmp_path)


def test_a_missing_folder_is_said_to_be_in_the_archive(tmp_path):
    with pytest.raises(
        DatasetError, match=r"no folder .*/img; .* benchmark_RELEASE/dataset, or move"
    ):
        SBDObjects(tmp_path)


def test_a_missing_list_is_named(tmp_path):
    write_sbd(tmp_path, {"2008_1": [[0, 1]]})
    (tmp_path / "val.txt").unlink()

    with pytest.raises(DatasetError, match=r"no list .*val\.txt; expected img"):
        SBDObjects(tmp_path)


@pytest.mark.parametrize("damage", ["half", "flipped", "newer"])
def test_a_damaged_instance_map_is_named(tmp_path, damage):
    write_sbd(tmp_path, {"2008_1": [[0, 1]]})
    path = tmp_path / "inst/2008_1.mat"
    content = bytearray(path.read_bytes())
    if damage == "half":
        content = b"half a file"
    elif damage == "flipped":
        content[200:210] = bytes(255 - value for value in content[200:210])
    else:
        content[124:126] = b"\0\2"  # MATLAB 7.3's files are HDF5
    path.write_bytes(content)

    with pytest.raises(DatasetError, match=r"2008_1\.mat is not an instance map"):
        SBDObjects(tmp_path)


def test_ragged_outlines_are_no_training_objects(tmp_path):
    instances = np.zeros((40, 40), np.uint8)
    instances[5:15, 5:15] = 1
    # Two specks in opposite corners cover far less than 8 % of their common box.
    instances[0, 0] = instances[39, 39] = 2
    instances[0, 39] = instances[39, 0] = 3
    instances[20, 20:28] = 4
    instances[29, 29] = 4  # with 9 pixels of a box of 10 x 10 it covers more
    write_sbd(tmp_path, {"2008_1": instances}, split="train")

    sample = SBDImages(tmp_path)[0]

    assert sample.name == "2008_1"
    assert sample.objects == ((0, 1), (0, 4))
    assert set(np.unique(sample.layers)) == {0, 1, 4}
