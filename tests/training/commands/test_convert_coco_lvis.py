"""The way from COCO and LVIS to a folder of layers."""

import json
import shutil

import cv2
import numpy as np
import pytest

from training.commands.convert_coco_lvis import convert, read_sources
from training.datasets.layered_folder import LayeredFolder
from training.errors import DatasetError


def polygon(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture
def downloads(tmp_path):
    """COCO and LVIS of one photo: a whole with a part, what LVIS lacks, what both have, a sky."""
    image = {"id": 9, "height": 60, "width": 80, "coco_url": "http://x/train2017/000000000009.jpg"}
    absent = {**image, "id": 10, "coco_url": "http://x/val2017/000000000010.jpg"}
    (tmp_path / "train2017").mkdir()
    photo = np.full((60, 80, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "train2017" / "000000000009.jpg"), photo)
    whole, part = polygon(2.0, 30.0, 32.0, 50.0), polygon(6.0, 34.0, 18.0, 46.0)
    segments = [
        {"id": 300, "category_id": 200},
        {"id": 5, "category_id": 1},
        {"id": 6, "category_id": 1},
    ]
    files = {
        "lvis": {
            "images": [image, absent],
            "annotations": [{"image_id": 9, "segmentation": one} for one in (whole, part)],
        },
        "panoptic": {
            "categories": [{"id": 1, "isthing": 1}, {"id": 200, "isthing": 0}],
            "annotations": [{"image_id": 9, "file_name": "9.png", "segments_info": segments}],
        },
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "panoptic").mkdir()
    picture = np.zeros((60, 80, 3), np.uint8)  # blue, green, red
    picture[:20] = (0, 1, 44)  # 44 + 256
    picture[31:50, 3:32] = (0, 0, 5)
    picture[30:50, 50:70] = (0, 0, 6)
    cv2.imwrite(str(tmp_path / "panoptic" / "9.png"), picture)
    return tmp_path


def test_coco_and_lvis_become_layers(downloads):
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")

    assert convert(sources, downloads / "train2017", downloads / "out") == 1
    sample = LayeredFolder(downloads / "out")[0]

    assert sample.image.shape == (60, 80, 3)
    # The whole of LVIS and what COCO adds; neither the part nor what LVIS outlines better.
    assert sample.objects == ((0, 1), (0, 2))
    assert sample.stuff == ((0, 3),)
    assert (sample.layers[:20, :, 0] == 3).all()
    assert (sample.layers[32:48, 4:30, 0] == 1).all()
    assert (sample.layers[30:50, 50:70, 0] == 2).all()
    assert (sample.layers[36:44, 8:16, 1] == 1).all()


def test_an_output_or_photos_behind_a_link_are_found_again(downloads):
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")
    (downloads / "disk" / "deeper").mkdir(parents=True)
    (downloads / "out").symlink_to(downloads / "disk" / "deeper")
    (downloads / "disk" / "photos").symlink_to(downloads / "train2017")

    convert(sources, downloads / "disk" / "photos", downloads / "out")

    assert LayeredFolder(downloads / "out")[0].image.shape == (60, 80, 3)
    assert LayeredFolder(downloads / "disk" / "deeper")[0].image.shape == (60, 80, 3)


def a_second_photo(downloads):
    """The first one again, as number 11."""
    for name, numbered in (("lvis", "images"), ("panoptic", "annotations")):
        content = json.loads((downloads / f"{name}.json").read_text())
        again = json.dumps(content[numbered][0]).replace("000009", "000011")
        again = again.replace('"id": 9', '"id": 11').replace('"image_id": 9', '"image_id": 11')
        content[numbered].append(json.loads(again))
        (downloads / f"{name}.json").write_text(json.dumps(content))
    return downloads / "train2017" / "000000000011.jpg"


@pytest.mark.parametrize("by_the_same_files", [True, False])
def test_an_interrupted_conversion_is_gone_on_with_by_the_same_files(downloads, by_the_same_files):
    photo = a_second_photo(downloads)
    photo.write_bytes(b"half")
    annotations = downloads / "lvis.json", downloads / "panoptic.json"
    with pytest.raises(DatasetError, match=r"11\.jpg is not a readable image"):
        convert(read_sources(*annotations), downloads / "train2017", downloads / "out")
    with (downloads / "out" / "index.unfinished").open("ab") as file:
        file.write(b'{"name": "0000')
    first = downloads / "out" / "layers" / "000000000009.png"
    written = first.stat().st_mtime_ns
    shutil.copy(downloads / "train2017" / "000000000009.jpg", photo)
    if not by_the_same_files:
        annotations[0].touch()

    assert convert(read_sources(*annotations), downloads / "train2017", downloads / "out") == 2

    assert (first.stat().st_mtime_ns == written) == by_the_same_files
    found = LayeredFolder(downloads / "out")
    names = [image.name for image in found]
    assert names == sorted(names)
    assert len(names) == 2
    assert {file.name for file in (downloads / "out").iterdir()} == {"index.jsonl", "layers"}


def test_a_conversion_without_photos_says_so(downloads):
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")

    with pytest.raises(DatasetError, match=r"lacks 1 of 1 photos, such as 0+9\.jpg; unpack all"):
        convert(sources, downloads, downloads / "out")
    with pytest.raises(DatasetError, match="convert-coco-lvis"):
        LayeredFolder(downloads / "out")


@pytest.mark.parametrize("name", ["lvis", "panoptic"])
@pytest.mark.parametrize("content", ["{}", "[]", '{"images": [1], "categories": ["x"]}'])
def test_json_of_another_kind_or_none_is_refused(downloads, name, content):
    (downloads / f"{name}.json").write_text(content)

    with pytest.raises(DatasetError, match=rf"{name}\.json is JSON of another kind; take the one"):
        read_sources(downloads / "lvis.json", downloads / "panoptic.json")
    (downloads / f"{name}.json").unlink()
    with pytest.raises(DatasetError, match=r"json cannot be read \(No such file or directory\);"):
        read_sources(downloads / "lvis.json", downloads / "panoptic.json")


def test_a_conversion_without_panoptic_pictures_says_so(downloads, capfd):
    picture = downloads / "panoptic" / "9.png"
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")

    picture.write_bytes(b"half")
    with pytest.raises(DatasetError, match=r"9\.png is not a readable.*; unpack COCO's panoptic"):
        convert(sources, downloads / "train2017", downloads / "out")
    picture.unlink()
    with pytest.raises(
        DatasetError, match=r"cannot read .*9\.png: No such.*; unpack COCO's panoptic"
    ):
        convert(sources, downloads / "train2017", downloads / "out")
    assert "WARN" not in capfd.readouterr().err  # which OpenCV prints


@pytest.mark.parametrize(
    ("segmentation", "problem"),
    [
        (None, "segmentation"),
        ([[1.0, 2.0, 3.0]], "reshape"),
        ([[]], "no corners"),
        ("text", "neither"),
        ({"counts": 5}, "len"),
        ({"counts": [-1, 2]}, "negative"),
        ({"counts": [3]}, "cover 3 pixels of 4800"),
    ],
)
def test_malformed_annotations_are_refused_and_leave_no_index(downloads, segmentation, problem):
    content = json.loads((downloads / "lvis.json").read_text())
    content["annotations"][1]["segmentation"] = segmentation
    if segmentation is None:
        del content["annotations"][1]["segmentation"]
    (downloads / "lvis.json").write_text(json.dumps(content))
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")

    with pytest.raises(DatasetError, match=rf"of 0+9\.jpg are malformed.*{problem}"):
        convert(sources, downloads / "train2017", downloads / "out")
    assert [file.name for file in (downloads / "out").iterdir()] == ["index.unfinished"]


def test_annotations_of_another_release_are_refused(downloads):
    content = json.loads((downloads / "lvis.json").read_text())
    (downloads / "lvis.json").write_text(json.dumps({**content, "images": content["images"][1:]}))
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")

    with pytest.raises(DatasetError, match="no image is in both"):
        convert(sources, downloads / "train2017", downloads / "out")
