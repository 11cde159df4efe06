"""COCO+LVIS in the files of RITM."""

import os
import pickle

import cv2
import numpy as np
import pytest

from training.datasets.coco_lvis import CocoLvis
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

    assert sample.name == "000000000009"
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
