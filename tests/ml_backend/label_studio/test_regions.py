import json
from pathlib import Path

import numpy as np
import pytest

from ml_backend.errors import BrushRLEError
from ml_backend.label_studio import brush_rle
from ml_backend.label_studio.labeling_config import parse
from ml_backend.label_studio.regions import brush_region, decode_region, is_brush, label_of

FIXTURES = Path(__file__).parents[1] / "fixtures"


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
    assert is_brush(region())
    assert label_of(region()) == "Other"
    np.testing.assert_array_equal(decode_region(region(), "abcdefghij"), MASK)


def test_an_accepted_annotation():
    result = recorded("webhook_ANNOTATION_CREATED_full.json")["body"]["annotation"]["result"]
    brushes = [item for item in result if is_brush(item)]
    assert brushes == [item for item in result if item["type"] == "brushlabels"]
    assert [[label_of(item)] for item in brushes] == [it["value"]["brushlabels"] for it in brushes]
    assert all(decode_region(item, item["id"]).any() for item in brushes)


def test_a_stroke_painted_by_hand():
    stroke = recorded("result_manual_brush_stroke.json")
    assert label_of(stroke) == "Object"
    mask = decode_region(stroke, stroke["id"])
    assert mask.shape == (321, 481)
    assert mask.any()


def test_a_brush_with_separate_labels():
    rle = brush_rle.encode(MASK)
    brush = region(type="brush", value={"format": "rle", "rle": rle})
    labels = region(type="labels", value={"format": "rle", "rle": rle, "labels": ["Object"]})
    assert [label_of(item) for item in (brush, labels)] == ["", "Object"]
    for item in (brush, labels):
        np.testing.assert_array_equal(decode_region(item, "abcdefghij"), MASK)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"original_width": 7}, "holds 96 values, but an image of 7x4 pixels"),
        ({"original_width": None}, "does not say how large"),
        ({"original_width": "6"}, "does not say how large"),
        ({"original_width": 6.5}, "does not say how large"),
        ({"original_height": -4}, "does not say how large"),
        ({"original_height": 10**6, "original_width": 10**6}, "holds 96 values, but an image"),
        ({"value": {"rle": region()["value"]["rle"][:-1]}}, "cut short"),
        ({"value": {"rle": None}}, "flat list"),
        ({"value": {"rle": [0, 9, "… 322 ints"]}}, "flat list|header"),
    ],
)
def test_a_region_that_cannot_be_read_is_named(changes, sentence):
    with pytest.raises(BrushRLEError, match=sentence) as error:
        decode_region(region(**changes), "abcdefghij")
    assert "'abcdefghij'" in str(error.value)
