import json
from pathlib import Path

import numpy as np
import pytest

from ml_backend import brush_rle
from ml_backend.errors import BrushRLEError
from ml_backend.labeling_config import parse
from ml_backend.regions import brush_region, decode_regions

FIXTURES = Path(__file__).parent / "fixtures"


def recorded(name):
    return json.loads((FIXTURES / name).read_text())


CONFIG = parse(recorded("predict_click1_positive.json")["body"]["label_config"])
MASK = np.random.default_rng(0).random((4, 6)) < 0.5


def region(**changes):
    return {**brush_region(MASK, "Other", CONFIG, "abcdefghij", 0.93), **changes}


def test_a_region_has_exactly_the_fields_label_studio_shows():
    assert region() == {
        "id": "abcdefghij",
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": 6,
        "original_height": 4,
        "image_rotation": 0,
        "score": 0.93,
        "readonly": False,
        "value": {"format": "rle", "rle": brush_rle.encode(MASK), "brushlabels": ["Other"]},
    }


def test_a_region_is_plain_json():
    text = json.dumps(brush_region(MASK, "Other", CONFIG, "abcdefghij", np.float32(0.5)))
    assert json.loads(text)["score"] == 0.5


def test_regions_come_back():
    (decoded,) = decode_regions([region()], (4, 6))
    assert decoded.region_id == "abcdefghij"
    assert decoded.labels == ("Other",)
    np.testing.assert_array_equal(decoded.mask, MASK)


def test_an_accepted_annotation():
    result = recorded("webhook_ANNOTATION_CREATED_full.json")["body"]["annotation"]["result"]
    regions = decode_regions(result)
    assert [r.labels for r in regions] == [
        tuple(item["value"]["brushlabels"]) for item in result if item["type"] == "brushlabels"
    ]
    assert all(r.mask.any() for r in regions)


def test_a_stroke_painted_by_hand():
    (stroke,) = decode_regions([recorded("result_manual_brush_stroke.json")], (321, 481))
    assert stroke.labels == ("Object",)
    assert stroke.mask.any()


def test_other_regions_are_skipped_and_several_brushes_kept_in_order():
    keypoint = {"type": "keypointlabels", "value": {"x": 1, "y": 1}}
    choices = {"type": "choices", "value": {"choices": ["yes"]}}
    result = [keypoint, region(id="one"), choices, "noise", region(id="two")]
    assert [r.region_id for r in decode_regions(result)] == ["one", "two"]


def test_regions_without_ids_are_not_joined():
    assert len(decode_regions([region(id=None), region(id=None)])) == 2


def test_a_brush_with_separate_labels_is_one_region():
    rle = brush_rle.encode(MASK)
    brush = region(type="brush", value={"format": "rle", "rle": rle})
    labels = region(type="labels", value={"format": "rle", "rle": rle, "labels": ["Object"]})
    (joined,) = decode_regions([brush, labels])
    assert joined.labels == ("Object",)
    (unlabelled,) = decode_regions([brush])
    assert (unlabelled.region_id, unlabelled.labels) == ("abcdefghij", ())
    np.testing.assert_array_equal(unlabelled.mask, joined.mask)


@pytest.mark.parametrize(
    ("changes", "size_hw", "sentence"),
    [
        ({}, (6, 4), "painted on an image of 6x4 pixels, but the task's image has 4x6"),
        ({"original_width": 7}, None, "holds 96 values, but an image of 7x4 pixels"),
        ({"original_width": None}, None, "does not say how large"),
        ({"original_width": "6"}, None, "does not say how large"),
        ({"original_height": -4}, None, "does not say how large"),
        ({"original_height": 10**6, "original_width": 10**6}, None, "too many"),
        ({"value": {"rle": region()["value"]["rle"][:-1]}}, None, "cut short"),
        ({"value": {"rle": None}}, None, "flat list"),
        ({"value": {"rle": [0, 9, "… 322 ints"]}}, None, "flat list|header"),
    ],
)
def test_a_region_that_cannot_be_read_is_named(changes, size_hw, sentence):
    with pytest.raises(BrushRLEError, match=sentence) as error:
        decode_regions([region(**changes)], size_hw)
    assert "'abcdefghij'" in str(error.value)
