import json
import tracemalloc

import numpy as np
import pytest

from ml_backend.label_studio import accepted_objects
from ml_backend.label_studio.accepted_objects import (
    accepted_regions,
    painted_regions,
    region_labels,
)
from ml_backend.label_studio.brush_rle import encode
from tests.ml_backend.label_studio_requests import FIXTURES
from training.store.object_mask import ObjectMask


def mask(*boxes, size=(20, 30)):
    drawn = np.zeros(size, dtype=bool)
    for top, left, bottom, right in boxes:
        drawn[top:bottom, left:right] = True
    return drawn


def brush(drawn, name="a", label="Object", **extra):
    height, width = drawn.shape
    return {
        "id": name, "type": "brushlabels", "from_name": "brush", "to_name": "image",
        "original_width": width, "original_height": height,
        "value": {"format": "rle", "rle": encode(drawn), "brushlabels": [label]}, **extra,
    }  # fmt: skip


def click(x, y, label="Object", **extra):
    return {
        "id": "k", "type": "keypointlabels", "from_name": "kp", "to_name": "image",
        "original_width": 30, "original_height": 20,
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]}, **extra,
    }  # fmt: skip


def rectangle(control="magic", label="Object", **extra):
    return {
        "id": "b", "type": "rectanglelabels", "from_name": control, "to_name": "image",
        "origin": "manual",
        "value": {"x": 10, "y": 10, "width": 20, "height": 20, "rectanglelabels": [label]}, **extra,
    }  # fmt: skip


def read(*items, size=(20, 30)):
    return accepted_regions(painted_regions(items, "image", {"kp", "magic"}), size)


def summary(regions):
    return [(found.region, found.label, found.mask.area) for found in regions.objects]


LEFT, RIGHT, LOW = (2, 2, 8, 8), (2, 20, 8, 26), (12, 2, 18, 8)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        pytest.param([brush(mask(LEFT))], [("a", "Object", 36)], id="one region"),
        pytest.param(
            [brush(mask(LEFT), "a"), brush(mask(RIGHT), "b")],
            [("a", "Object", 36), ("b", "Object", 36)],
            id="two objects of one label",
        ),
        pytest.param(
            [brush(mask((2, 2, 8, 8)), "a"), brush(mask((2, 6, 8, 12)), "b")],
            [("a", "Object", 36), ("b", "Object", 36)],
            id="neighbours that overlap a little keep their pixels",
        ),
        pytest.param(
            [brush(mask(LEFT), "a"), brush(mask((6, 4, 10, 7)), "b")],
            [("a", "Object", 36), ("b", "Object", 12)],
            id="half of the smaller is not more than half",
        ),
        pytest.param(
            [brush(mask(LEFT), "a"), brush(mask((5, 4, 9, 7)), "b")],
            [("a+b", "Object", 39)],
            id="a stroke that completes a mask",
        ),
        pytest.param(
            [brush(mask(LEFT), "a"), brush(mask(LEFT), "b")],
            [("a+b", "Object", 36)],
            id="accepted twice",
        ),
        pytest.param(
            [brush(mask(LEFT), "a"), brush(mask(LEFT), "b", "Other")],
            [("a", "Object", 36), ("b", "Other", 36)],
            id="two labels never become one",
        ),
        pytest.param(
            [brush(mask(LEFT), "a"), brush(mask(RIGHT), "b", parentID="a")],
            [("a+b", "Object", 72)],
            id="joined by a parent",
        ),
        pytest.param(
            [
                brush(mask(LEFT), "a", parentID="group"),
                brush(mask(RIGHT), "b", parentID="group"),
            ],
            [("a+b", "Object", 72)],
            id="joined by a group",
        ),
        pytest.param(
            [
                brush(mask(LEFT), "a", parentID="p"),
                brush(mask((12, 2, 14, 8)), "b", "Other", parentID="p"),
                brush(mask((12, 20, 14, 26)), "c", parentID="p"),
                brush(mask(RIGHT), "p"),
            ],
            [("b", "Other", 12), ("a+c+p", "Object", 84)],
            id="a parent drawn after its children of two labels",
        ),
        pytest.param(
            [
                brush(mask(LEFT), "a"),
                brush(mask(RIGHT), "b"),
                {"type": "relation", "from_id": "b", "to_id": "a", "direction": "right"},
            ],
            [("a+b", "Object", 72)],
            id="joined by a relation",
        ),
        pytest.param(
            [
                brush(mask(LEFT), "a"),
                brush(mask(RIGHT), "b", "Other"),
                {"type": "relation", "from_id": "b", "to_id": "a", "direction": "right"},
            ],
            [("a", "Object", 36), ("b", "Other", 36)],
            id="a relation of two labels joins nothing",
        ),
        pytest.param(
            [
                brush(mask((2, 2, 4, 4)), "a", parentID="one"),
                brush(mask((2, 20, 4, 22)), "b", parentID="two"),
                brush(mask((12, 20, 14, 22)), "c", parentID="two"),
                brush(mask((12, 2, 14, 4)), "d", parentID="one"),
                brush(mask((6, 6, 8, 8)), "e", parentID="a"),
                {"type": "relation", "from_id": "e", "to_id": "b", "direction": "right"},
            ],
            [("a+b+c+d+e", "Object", 20)],
            id="groups that a later region joins, in the order in which they were drawn",
        ),
        pytest.param(
            [brush(mask((0, 0, 4, 9)), "a"), brush(mask((9, 0, 13, 9)), "b"),
             brush(mask((1, 0, 12, 9)), "c")],
            [("a+b+c", "Object", 117)],
            id="a region that covers two others joins all three",
        ),
        pytest.param(
            [
                {**brush(mask(LEFT), "a"), "type": "brush", "value": brush(mask(LEFT))["value"]},
                brush(mask(LEFT), "a"),
            ],
            [("a", "Object", 36)],
            id="brush and label saved as two items",
        ),
        pytest.param(
            [brush(mask(LEFT), "a"), {**brush(mask(LEFT), "a"), "type": "brush",
                                      "value": {"rle": encode(mask(LEFT))}}],
            [("a", "Object", 36)],
            id="label and brush saved as two items",
        ),
        pytest.param(
            [
                {**brush(mask(LEFT)), "type": "brush", "value": {"rle": encode(mask(LEFT))}},
                {**brush(mask(LEFT)), "type": "labels",
                 "value": {"rle": encode(mask(LEFT)), "labels": ["Object"]}},
            ],
            [("a", "Object", 36)],
            id="a brush with separate labels is one region",
        ),
        pytest.param(
            [{**brush(mask(LEFT)), "type": "brush", "value": {"rle": encode(mask(LEFT))}}],
            [("a", "", 36)],
            id="a brush without labels",
        ),
        pytest.param(
            [brush(mask(LEFT), None), click(1, 2), brush(mask(RIGHT), None)],
            [("#0", "Object", 36), ("#2", "Object", 36)],
            id="regions without ids are not joined",
        ),
        pytest.param(
            [click(1, 2), brush(mask(RIGHT), "b"), "noise", brush(mask(LEFT), "a"),
             {"type": "choices", "to_name": "image", "value": {"choices": ["yes"]}}],
            [("b", "Object", 36), ("a", "Object", 36)],
            id="other regions are skipped and several brushes kept in order",
        ),
        pytest.param(
            [brush(mask(LEFT), "a"), brush(mask(RIGHT), "b", to_name="second")],
            [("a", "Object", 36)],
            id="another image is another matter",
        ),
    ],
)  # fmt: skip
def test_which_regions_are_one_object(items, expected):
    assert summary(read(*items)) == expected


def test_regions_that_lie_apart_are_not_compared_pixel_by_pixel(monkeypatch):
    compared = []
    overlap = ObjectMask.overlap
    monkeypatch.setattr(
        ObjectMask, "overlap", lambda *masks: compared.append(masks) or overlap(*masks)
    )
    boxes = [(top, left, top + 3, left + 3) for top in (1, 5, 9) for left in range(1, 26, 4)]
    twice = (9, 24, 12, 27)
    items = [brush(mask(box), f"r{n}") for n, box in enumerate([*boxes, twice])]
    assert len(read(*items).objects) == len(boxes)
    assert len(compared) == 1


def test_labels_are_read_without_masks():
    unlabelled = {**brush(mask(LEFT), "a"), "value": {"rle": "not looked at"}}
    labelled = {**unlabelled, "value": {"rle": [], "labels": ["Other"]}}
    items = [unlabelled, labelled, brush(mask(RIGHT), "b"), click(1, 2), "nonsense", unlabelled]
    assert region_labels(items) == {"a": "Other", "b": "Object"}


def test_anti_aliased_rims_are_cut_at_half():
    fixture = json.loads((FIXTURES / "result_manual_brush_stroke.json").read_text())
    painted = painted_regions([fixture], fixture["to_name"], {"kp"})
    found = accepted_regions(painted, (fixture["original_height"], fixture["original_width"]))
    assert 0 < found.objects[0].mask.area < 321 * 481 / 4


def test_what_is_no_mask_is_left_out_with_a_note():
    polygon = {"type": "polygonlabels", "to_name": "image", "value": {"points": []}}
    rectangle = {"type": "rectanglelabels", "to_name": "image", "value": {}}
    choice = {"type": "choices", "to_name": "image", "value": {"choices": ["blurred"]}}
    found = read(brush(mask(LEFT)), polygon, rectangle, polygon, choice, "nonsense")
    assert len(found.objects) == 1
    assert found.notes == (
        "polygonlabels, rectanglelabels ignored: only brush masks are learned from",
    )


def test_notes_do_not_grow_with_what_was_drawn():
    shapes = [{"type": f"polygon{n:03d}", "to_name": "image", "value": {}} for n in range(100)]
    assert "polygon009 and 90 more ignored" in read(*shapes).notes[0]
    assert read(brush(mask(), "a" * 10**6)).notes == (f"region '{'a' * 79}…' is empty",)


@pytest.mark.parametrize(
    ("item", "note"),
    [
        (brush(mask()), "region 'a' is empty"),
        (brush(mask(LEFT, size=(20, 31)), original_width=30), "'a': the brush mask holds 2480"),
        (brush(mask(LEFT), original_width=10**8), "region 'a' was painted on an image of another"),
        (brush(mask(LEFT), original_width="wide"), "does not say how large its image is"),
        (brush(mask(LEFT), value={"rle": [1, 2]}), "region 'a'"),
        (brush(mask(LEFT), None, value={"rle": [1, 2]}), "region '#0'"),
    ],
)
def test_a_region_that_cannot_be_used_says_why_and_spoils_nothing(item, note):
    found = read(item, brush(mask(RIGHT), "b"))
    assert [accepted.region for accepted in found.objects] == ["b"]
    assert note in found.notes[0]


def test_a_click_on_the_far_edge_is_in_a_mask_that_reaches_it():
    corner = brush(mask((10, 20, 20, 30)))
    assert read(corner, click(100, 100, is_positive=True)).labels_without_mask == ()


def test_sizes_may_be_written_as_fractions_are():
    found = read(brush(mask(LEFT), original_width=30.0, original_height=20.0))
    assert summary(found) == [("a", "Object", 36)]


@pytest.mark.parametrize(("size", "kept", "left"), [((20, 30), "a", "b"), ((40, 30), "b", "a")])
def test_a_region_of_another_size_than_the_image_is_left_out(size, kept, left):
    found = read(brush(mask(LEFT)), brush(mask(LEFT, size=(40, 30)), "b"), size=size)
    assert summary(found) == [(kept, "Object", 36)]
    assert found.notes == (f"region '{left}' was painted on an image of another size",)


@pytest.mark.parametrize(
    ("heights", "expected"), [((20, 40, 40), 40), ((20, 20, 40), 20), ((20, 40), 40), ((), None)]
)
def test_the_image_has_the_size_of_most_masks_or_else_of_the_last(heights, expected):
    items = [brush(mask(size=(height, 30)), str(n)) for n, height in enumerate(heights)]
    found = painted_regions(items, "image", {"kp"}).size_hw
    assert found == (expected and (expected, 30))


def test_masks_of_another_size_than_the_image_take_no_memory():
    items = [brush(np.ones((4000, 4000), dtype=bool), "huge")]
    tracemalloc.start()
    found = read(*items)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.notes == ("region 'huge' was painted on an image of another size",)
    assert peak < 1_000_000, "of the 16 million pixels that it claims"


def test_no_more_masks_are_decoded_than_fit_into_memory(monkeypatch):
    monkeypatch.setattr(accepted_objects, "_MOST_PIXELS", 40)
    items = [brush(mask(box), name) for box, name in ((LEFT, "a"), (RIGHT, "b"), (LOW, "c"))]
    found = read(*items)
    assert summary(found) == [("a", "Object", 36), ("b", "Object", 36)]
    assert found.notes == ("region 'c' is left out: the others fill the memory",)


# Label Studio 2.2: submitting while a suggestion is pending keeps the clicks and loses the mask.
def test_clicks_without_their_mask_are_found_in_what_label_studio_sends():
    message = json.loads(
        (FIXTURES / "webhook_ANNOTATION_CREATED_pending_suggestion.json").read_text()
    )
    found = read(*message["body"]["annotation"]["result"], size=None)
    assert found.objects == ()
    assert found.labels_without_mask == ("Object",)
    assert found.notes == (FORGOTTEN.format("clicks", "Object"),)


FORGOTTEN = "saved with {} but without the mask of {}: accept the suggestion (✓) before submitting"
IGNORED = "rectanglelabels ignored: only brush masks are learned from"


@pytest.mark.parametrize(
    ("items", "labels", "notes"),
    [
        pytest.param(
            [rectangle(), rectangle(label="Other"), rectangle()], ("Object", "Other"),
            (FORGOTTEN.format("a rectangle", "Object, Other"),), id="magic rectangles",
        ),
        pytest.param([rectangle("box")], (), (IGNORED,), id="of another tag"),
        pytest.param([rectangle(origin="prediction")], (), (IGNORED,), id="drawn by nobody"),
        pytest.param([rectangle(), brush(mask(LEFT))], (), (IGNORED,), id="beside a mask"),
        pytest.param(
            [rectangle(), rectangle("box")], ("Object",),
            (FORGOTTEN.format("a rectangle", "Object"), IGNORED), id="one of each",
        ),
        pytest.param(
            [rectangle(), click(80, 25, is_positive=True)], ("Object",),
            (FORGOTTEN.format("clicks", "Object"), FORGOTTEN.format("a rectangle", "Object")),
            id="clicks, too",
        ),
    ],
)  # fmt: skip
def test_magic_rectangles_without_any_mask_are_told_as_forgotten(items, labels, notes):
    found = read(*items)
    assert (found.labels_without_mask, found.notes) == (labels, notes)


@pytest.mark.parametrize(
    ("items", "labels"),
    [
        pytest.param([click(15, 25, is_positive=True)], (), id="click in its accepted mask"),
        pytest.param([click(80, 25, is_positive=True)], ("Object",), id="second object lost"),
        pytest.param([click(80, 25)], ("Object",), id="sign lost by an earlier edit"),
        pytest.param([click(80, 25, is_positive=False)], (), id="negative clicks ask for nothing"),
        pytest.param([click(80, 25, "Other", is_positive=True)], ("Other",), id="other label"),
        pytest.param([click(15, 25, "Other", is_positive=True)], (), id="relabelled mask"),
        pytest.param([click(15, 25, "Other")], ("Other",), id="other label, sign lost"),
        pytest.param([click(80, 25, from_name="landmarks")], (), id="landmark"),
        pytest.param(
            [{**brush(mask(LEFT)), "type": "keypointlabels", "from_name": "kp"}], (),
            id="accepted while a label was chosen",
        ),
        pytest.param(
            [click(15, 25), click(80, 25)], (), id="several clicks of an earlier edit",
        ),
        pytest.param(
            [click(15, 25, is_positive=True), click(16, 26, is_positive=True)], (),
            id="several clicks on one object",
        ),
        pytest.param(
            [click(15, 25, is_positive=True), click(80, 25, is_positive=True)], ("Object",),
            id="a second object that was not accepted",
        ),
        pytest.param(
            [click(15, 25), click(80, 25, is_positive=True)], ("Object",),
            id="the first object's click is of an earlier edit",
        ),
        pytest.param([click(float("nan"), 25, is_positive=True)], ("Object",), id="not a number"),
        pytest.param([{"type": "keypointlabels", "to_name": "image"}], (), id="no value"),
    ],
)  # fmt: skip
def test_which_labels_lack_their_mask(items, labels):
    assert read(brush(mask(LEFT)), *items).labels_without_mask == labels
