"""COCO+LVIS: RITM's files, our own, and the way from COCO and LVIS to them."""

import json
import os
import pickle
import shutil

import cv2
import numpy as np
import pytest

from training.commands.convert_coco_lvis import convert, read_sources
from training.datasets.coco_lvis import CocoLvis
from training.datasets.layered_folder import LayeredFolder
from training.datasets.object_sampling import ObjectSampling, settle_stuff
from training.errors import DatasetError


@pytest.fixture
def distributed(tmp_path):
    """Two layers: a whole with a part on top of it, another object, and stuff."""
    root = tmp_path / "COCO_LVIS"
    for name in ("images", "masks"):
        (root / "train" / name).mkdir(parents=True)
    layers = np.zeros((2, 20, 30), np.uint8)
    layers[0, 2:12, 2:12], layers[1, 4:8, 4:8] = 1, 1
    layers[0, 2:12, 20:28], layers[0, 15:] = 2, 3
    encoded = [cv2.imencode(".png", layer)[1] for layer in layers]
    mapping = {0: (0, 1), 1: (1, 1), 2: (0, 2), 3: (0, 3)}
    hierarchy = {
        0: {"children": [1], "parent": None, "node_level": 0},
        1: {"children": [], "parent": 0, "node_level": 1},
        2: None,
    }
    annotation = {"000000000009": {"num_instance_masks": 3, "hierarchy": hierarchy}}
    (root / "train" / "hannotation.pickle").write_bytes(pickle.dumps(annotation))
    file = root / "train" / "masks" / "000000000009.pickle"
    file.write_bytes(pickle.dumps((encoded, mapping)))
    image = np.full((20, 30, 3), 90, np.uint8)
    cv2.imwrite(str(root / "train" / "images" / "000000000009.jpg"), image)
    return root


def test_parts_are_no_objects_and_stuff_is_kept_apart(distributed):
    sample = CocoLvis(distributed)[0]

    assert sample.name == CocoLvis(distributed).names[0] == "000000000009"
    assert sample.layers.shape == (20, 30, 2)
    assert sample.objects == ((0, 1), (0, 2))
    assert sample.stuff == ((0, 3),)


def test_stuff_is_asked_for_or_erased(distributed):
    sample = CocoLvis(distributed)[0]
    rng = np.random.default_rng(0)
    options = ObjectSampling(stuff_probability=0.3)

    settled = [settle_stuff(sample, options, rng) for _ in range(1000)]

    with_stuff = [one for one in settled if len(one.objects) == 3]
    assert len(with_stuff) / 1000 == pytest.approx(0.3, abs=0.05)
    for one in settled:
        assert (one.layers == 3).any() == (len(one.objects) == 3)
    assert (sample.layers == 3).any()


def test_what_is_missing_is_said(distributed):
    (distributed / "train" / "masks" / "000000000009.pickle").unlink()
    with pytest.raises(DatasetError, match="lack their masks"):
        CocoLvis(distributed)
    (distributed / "train" / "hannotation.pickle").unlink()
    with pytest.raises(DatasetError, match="convert-coco-lvis"):
        CocoLvis(distributed)


def test_a_pickle_that_would_run_code_is_refused(distributed, tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    content = pickle.dumps({"x": Attack()})
    (distributed / "train" / "hannotation.pickle").write_bytes(content)

    with pytest.raises(DatasetError, match="not plain data"):
        CocoLvis(distributed)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "annotation"),
    [
        (5, {}),
        ((1, 2, 3), {}),
        (([np.zeros(3, np.uint8)], {}), {}),
        (([], {}), {"hierarchy": None}),
        (([], {}), {"num_instance_masks": None}),
    ],
)
def test_malformed_masks_are_refused_by_their_file(distributed, content, annotation):
    folder = distributed / "train"
    good = pickle.loads((folder / "masks" / "000000000009.pickle").read_bytes())
    kept = good if annotation else content
    (folder / "masks" / "000000000009.pickle").write_bytes(pickle.dumps(kept))
    entries = pickle.loads((folder / "hannotation.pickle").read_bytes())
    entries["000000000009"] |= annotation
    (folder / "hannotation.pickle").write_bytes(pickle.dumps(entries))

    with pytest.raises(DatasetError, match=r"000000000009\.pickle is of another kind"):
        CocoLvis(distributed)[0]


def test_objects_that_are_in_no_layer_are_not_asked_for(distributed):
    file = distributed / "train" / "masks" / "000000000009.pickle"
    encoded, mapping = pickle.loads(file.read_bytes())
    file.write_bytes(pickle.dumps((encoded, {**mapping, 2: (0, 77)})))

    assert CocoLvis(distributed)[0].objects == ((0, 1),)


def test_a_photo_of_another_size_than_its_masks_is_refused(distributed):
    photo = distributed / "train" / "images" / "000000000009.jpg"
    cv2.imwrite(str(photo), np.zeros((40, 60, 3), np.uint8))

    with pytest.raises(DatasetError, match=r"000000000009 differ in height and width: \(40, 60\)"):
        CocoLvis(distributed)[0]


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
    assert [found[place].name for place in (0, 1)] == found.names == sorted(found.names)
    assert {file.name for file in (downloads / "out").iterdir()} == {"index.jsonl", "layers"}


def test_a_conversion_without_photos_says_so(downloads):
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")

    with pytest.raises(DatasetError, match=r"lacks 1 of 1 photos, such as 0+9\.jpg; unpack all"):
        convert(sources, downloads, downloads / "out")
    with pytest.raises(DatasetError, match="convert-coco-lvis"):
        LayeredFolder(downloads / "out")


def test_layers_without_their_photos_are_refused_at_once(downloads):
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")
    convert(sources, downloads / "train2017", downloads / "out")
    (downloads / "train2017" / "000000000009.jpg").unlink()

    with pytest.raises(DatasetError, match=r"1 of the 2 files .* are not there.*put the photos"):
        LayeredFolder(downloads / "out")


def test_an_index_of_another_kind_is_refused_by_its_line(downloads):
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")
    convert(sources, downloads / "train2017", downloads / "out")
    index = downloads / "out" / "index.jsonl"
    index.write_text(index.read_text() + '{"name": "000000000010"}\n')

    with pytest.raises(DatasetError, match=r"line 2 of .*index\.jsonl is no object with image, "):
        LayeredFolder(downloads / "out")


@pytest.mark.parametrize("name", ["lvis", "panoptic"])
@pytest.mark.parametrize("content", ["{}", "[]", '{"images": [1], "categories": ["x"]}'])
def test_json_of_another_kind_is_refused(downloads, name, content):
    (downloads / f"{name}.json").write_text(content)

    with pytest.raises(DatasetError, match=rf"{name}\.json is JSON of another kind; take the one"):
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
def test_an_index_that_does_not_fit_its_layers_is_refused(downloads, change):
    sources = read_sources(downloads / "lvis.json", downloads / "panoptic.json")
    convert(sources, downloads / "train2017", downloads / "out")
    index = downloads / "out" / "index.jsonl"
    index.write_text(json.dumps({**json.loads(index.read_text()), **change}) + "\n")

    with pytest.raises(DatasetError, match=r"9\.png and its line of index\.jsonl do not belong"):
        LayeredFolder(downloads / "out")[0]
