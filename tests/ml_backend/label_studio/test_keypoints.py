import logging
import math

import numpy as np
import pytest

from icmformer.box import Box
from icmformer.clicks import Click
from ml_backend.errors import RequestError
from ml_backend.label_studio.keypoints import (
    MAX_KEYPOINTS,
    Keypoint,
    clicked_keypoints,
    drawn_rectangles,
    saved_keypoints,
)
from ml_backend.label_studio.labeling_config import parse
from tests.ml_backend.label_studio_requests import recorded

CONFIG = parse(recorded("predict_click1_positive")["label_config"])


def keypoint(x=50, y=50, label="Object", **changes):
    item = {
        "type": "keypointlabels",
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [label]},
        "is_positive": True,
        "id": "kp1",
        "from_name": "kp",
    }
    return {**item, **changes}


def rectangle(**changes):
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    return {
        "type": "rectanglelabels",
        "value": {**value, "rectanglelabels": ["Object"], **changes},
        "id": "r1",
    }


def by_label(keypoints):
    labels = dict.fromkeys(keypoint.label for keypoint in keypoints)
    return {label: [k.click for k in keypoints if k.label == label] for label in labels}


def clicks_by_label(result, config, size_hw):
    return by_label(clicked_keypoints(result, config, size_hw))


def saved_clicks_by_label(task, config, size_hw):
    return by_label(saved_keypoints(task, config, size_hw))


def clicks_of(name, size_hw):
    return clicks_by_label(
        recorded(f"predict_{name}")["params"]["context"]["result"], CONFIG, size_hw
    )


def test_clicks_arrive_in_order_with_their_sign():
    clicks = clicks_of("click3_negative_alt", (321, 481))
    assert list(clicks) == ["Object"]
    assert [click.positive for click in clicks["Object"]] == [True, True, False]
    assert clicks["Object"][0].x == pytest.approx(0.6140567200986437 * 481)
    assert clicks["Object"][0].y == pytest.approx(0.3586549431300921 * 321)


def test_a_click_on_a_photograph_with_exif_orientation_is_in_the_upright_frame():
    (click,) = clicks_of("exif6", (481, 321))["Object"]
    assert (click.x, click.y) == (pytest.approx(157.38, abs=0.01), pytest.approx(144.44, abs=0.01))


def test_a_click_in_a_rotated_view_is_in_the_unrotated_frame():
    (click,) = clicks_of("rotated_90", (481, 321))["Object"]
    assert (click.x, click.y) == (pytest.approx(87.21, abs=0.01), pytest.approx(350.19, abs=0.01))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("click1_positive", 1),
        ("click2_positive", 2),
        ("click4_other_label", 1),
        ("zoomed", 1),
        ("autoaccept_click2", 1),
        ("after_accept", 1),
    ],
)
def test_recorded_requests(name, count):
    body = recorded(f"predict_{name}")
    ((label, clicks),) = clicks_by_label(
        body["params"]["context"]["result"], CONFIG, (321, 481)
    ).items()
    assert label == ("Other" if name == "click4_other_label" else "Object")
    assert len(clicks) == count


def test_keypoints_of_other_objects_are_left_out():
    # Saved earlier or drawn by hand: these carry no is_positive while somebody is clicking.
    context = recorded("predict_with_saved_keypoint")["params"]["context"]["result"]
    assert any("is_positive" not in item for item in context)
    (clicks,) = clicks_by_label(context, CONFIG, (321, 481)).values()
    assert len(clicks) == sum("is_positive" in item for item in context)


@pytest.mark.parametrize("sign", [None, 1, 0, "true", [], {}])
def test_only_true_and_false_are_signs(sign):
    value = {"x": 1, "y": 1, "keypointlabels": ["Object"], "is_positive": True, "positive": True}
    item = keypoint(is_positive=sign, value=value)
    assert clicks_by_label([item], CONFIG, (10, 10)) == {}
    del item["is_positive"]
    assert clicks_by_label([item], CONFIG, (10, 10)) == {}


def test_labels_are_kept_apart_and_unknown_ones_logged(caplog):
    result = [
        keypoint(10, 10),
        keypoint(20, 20, "Other"),
        keypoint(30, 30, "Zebra"),
        keypoint(40, 40, is_positive=False),
        {"type": "brushlabels", "value": {}},
        "noise",
    ]
    with caplog.at_level(logging.WARNING):
        clicks = clicks_by_label(result, CONFIG, (100, 200))
    assert clicks == {
        "Object": [Click(20, 10, True), Click(80, 40, False)],
        "Other": [Click(40, 20, True)],
    }
    (line,) = caplog.messages
    assert "Zebra" in line
    assert "kp1" in line


def test_a_keypoint_with_two_labels_counts_for_both():
    item = keypoint(value={"x": 50, "y": 50, "keypointlabels": ["Object", "Other"]})
    assert list(clicks_by_label([item], CONFIG, (10, 10))) == ["Object", "Other"]


def test_labels_may_stand_under_their_common_name():
    item = keypoint(value={"x": 50, "y": 50, "labels": ["Other"]})
    assert list(clicks_by_label([item], CONFIG, (10, 10))) == ["Other"]


def test_every_click_is_on_a_pixel():
    for percent in (0, -1e-6, -9e-4, 100, 100 + 1e-6, 100 + 9e-4):
        ((click,),) = clicks_by_label([keypoint(percent, percent)], CONFIG, (3, 481)).values()
        assert 0 <= math.floor(click.x) <= 480
        assert 0 <= math.floor(click.y) <= 2
        assert (click.x, click.y) == pytest.approx((percent * 4.81, percent * 0.03), abs=5e-3)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"x": math.nan}, '"x" is not a usable number'),
        ({"y": math.inf}, '"y" is not a usable number'),
        ({"x": 10**400}, '"x" is not a usable number'),
        ({"x": 100.002}, '"x" is 100.002, outside 0 to 100 percent'),
        ({"x": 100.1}, '"x" is 100.1, outside 0 to 100 percent'),
        ({"y": -0.1}, '"y" is -0.1, outside 0 to 100 percent'),
        ({"x": "50"}, '"x" is not a number'),
        ({"x": True}, '"x" is not a number'),
        ({"x": None}, '"x" is not a number'),
        ({"keypointlabels": "Object"}, "no list of labels"),
        ({"keypointlabels": [3]}, "no list of labels"),
        ({"keypointlabels": None}, "no list of labels"),
    ],
)
def test_a_malformed_keypoint_is_named(value, sentence):
    item = keypoint(id="bad one")
    item["value"].update(value)
    with pytest.raises(RequestError, match=sentence) as error:
        clicks_by_label([keypoint(), item], CONFIG, (10, 10))
    assert "keypoint 'bad one'" in str(error.value)


def test_a_malformed_keypoint_that_does_not_count_is_ignored():
    item = keypoint(math.nan)
    del item["is_positive"]
    assert clicks_by_label([item], CONFIG, (10, 10)) == {}


@pytest.mark.parametrize("result", ["text", 3, {"a": 1}])
def test_a_result_that_is_no_list(result):
    with pytest.raises(RequestError, match="must be a list"):
        clicks_by_label(result, CONFIG, (10, 10))
    assert clicks_by_label(None, CONFIG, (10, 10)) == {}


def test_a_value_that_is_no_object():
    with pytest.raises(RequestError, match='has no "value"'):
        clicks_by_label([keypoint(value=[1])], CONFIG, (10, 10))


def test_thousands_of_keypoints_are_refused():
    with pytest.raises(RequestError, match="10000 keypoints"):
        clicks_by_label([keypoint()] * 10_000, CONFIG, (10, 10))
    others = [unsigned(5)] * 10_000
    clicks = clicks_by_label([keypoint()] * MAX_KEYPOINTS + others, CONFIG, (9, 9))
    assert len(clicks["Object"]) == MAX_KEYPOINTS


def test_the_recorded_smart_rectangle():
    context = recorded("predict_smart_rectangle")["params"]["context"]["result"]
    assert clicks_by_label(context, CONFIG, (481, 321)) == {}
    (box,) = [r.box for r in drawn_rectangles({}, context, CONFIG, (481, 321))]
    assert box.left == pytest.approx(157.38, abs=0.01)
    assert box.right == pytest.approx(314.08, abs=0.01)
    assert box.bottom - box.top == pytest.approx(144.44, abs=0.01)


def test_a_rectangle_becomes_a_box():
    (found,) = drawn_rectangles({}, [rectangle()], CONFIG, (10, 20))
    assert (found.id, found.label) == ("r1", "Object")
    assert found.box == Box(2, 2, 8, 6)


def test_a_rectangle_turned_by_a_quarter():
    # Turned a quarter clockwise about its top-left corner it lies to the left of it.
    item = rectangle(x=50, y=20, width=30, height=40, rotation=90)
    (box,) = [r.box for r in drawn_rectangles({}, [item], CONFIG, (100, 100))]
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((10, 20, 50, 50))
    assert not box.corners, "it is upright"


def test_of_a_tilted_rectangle_only_what_is_inside_counts():
    # A square of 40 pixels that stands on its corner: (50, 10), (78.3, 38.3), (50, 66.6) …
    item = rectangle(x=50, y=10, width=40, height=40, rotation=45)
    (box,) = [r.box for r in drawn_rectangles({}, [item], CONFIG, (100, 100))]
    assert (box.left, box.top) == pytest.approx((50 - 800**0.5, 10), abs=1e-3)
    assert (box.right, box.bottom) == pytest.approx((50 + 800**0.5, 10 + 3200**0.5), abs=1e-3)
    middle = box.clicks()[-1]
    assert (middle.x, middle.y) == pytest.approx((50, 10 + 800**0.5), abs=1e-3)
    mask = box.mask((100, 100))
    rows, columns = np.nonzero(mask)
    off = abs(columns + 0.5 - 50) + abs(rows + 0.5 - 10 - 800**0.5)
    assert off.max() <= 800**0.5 + 1  # touches it: at most half a pixel each way
    assert 1600 <= mask.sum() <= 1600 + 4 * 40


def test_a_tilted_rectangle_that_leaves_the_image_is_clicked_where_it_is_seen():
    item = rectangle(x=90, y=10, width=80, height=10, rotation=-30)
    (box,) = [r.box for r in drawn_rectangles({}, [item], CONFIG, (100, 100))]
    click = box.clicks()[-1]
    assert box.mask((100, 100))[math.floor(click.y), math.floor(click.x)]


def ids_of_rectangles(task, *items):
    return [found.id for found in drawn_rectangles(task, list(items), CONFIG, (100, 100))]


@pytest.mark.parametrize("kind", ["annotations", "drafts", "predictions"])
def test_rectangles_that_the_task_carries_are_not_drawn_again(kind):
    saved_one, new = {**rectangle(x=5), "id": "saved"}, rectangle()
    task = {kind: [{"result": [saved_one, {"type": "rectanglelabels"}]}]}
    assert ids_of_rectangles(task, new, saved_one) == ["r1"]
    assert ids_of_rectangles(task, saved_one) == ["saved"]  # somebody changes it
    dragged = {**rectangle(x=6), "id": "saved"}
    assert ids_of_rectangles(task, dragged, {**saved_one, "id": "other"}) == ["other"]
    assert ids_of_rectangles(task, dragged, saved_one) == ["saved"]


@pytest.mark.parametrize("changed", ["x", "y", "width", "height", "rotation"])
def test_a_rectangle_that_was_changed_is_drawn_anew_whatever_of_it_changed(changed):
    task = {"annotations": [{"result": [rectangle(), {**rectangle(), "id": "last"}]}]}
    assert ids_of_rectangles(task, rectangle(**{changed: 7}), {**rectangle(), "id": "last"}) == [
        "r1"
    ]


def test_of_several_new_rectangles_the_last_counts():
    """Nothing tells one that was drawn by hand a moment ago from a smart one."""
    by_hand = [{**rectangle(x=number), "id": f"hand {number}"} for number in range(3)]
    assert ids_of_rectangles({}, *by_hand, rectangle()) == ["r1"]


def test_a_detectors_rectangles_are_not_drawn():
    predicted = {**rectangle(x=5), "id": "p", "origin": "prediction"}
    assert ids_of_rectangles({}, rectangle(), predicted) == ["r1"]
    assert ids_of_rectangles({}, predicted) == []


def test_thousands_of_saved_rectangles_do_not_matter():
    task = {"annotations": [{"result": [rectangle(x=n / 100) for n in range(3000)]}]}
    assert ids_of_rectangles(task, rectangle()) == ["r1"]
    assert len(clicked_keypoints([keypoint()], CONFIG, (9, 9))) == 1


def test_a_mask_that_was_accepted_while_a_label_was_chosen_is_no_keypoint():
    """Label Studio 1.23.2 saves it twice: as the brush, and with the chosen label's type."""
    twice = keypoint(value={"format": "rle", "rle": [0, 1], "keypointlabels": ["Object"]})
    assert clicks_by_label([keypoint(), twice], CONFIG, (10, 10)) == {"Object": [Click(5, 5, True)]}
    del twice["is_positive"]
    assert saved_clicks_by_label({"annotations": [saved(twice)]}, CONFIG, (10, 10)) == {}


def test_landmarks_of_another_control_are_no_clicks():
    landmark = {**unsigned(10), "from_name": "landmarks"}
    assert saved_clicks_by_label({"annotations": [saved(landmark)]}, CONFIG, (10, 10)) == {}


def test_a_rotated_rectangle_may_be_longer_than_the_other_side():
    # 50 pixels downwards would leave an image of 10; turned, they lie along its 100.
    item = rectangle(x=80, y=0, width=8, height=500, rotation=90)
    (box,) = [r.box for r in drawn_rectangles({}, [item], CONFIG, (10, 100))]
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((30, 0, 80, 8))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 0}, "no area"),
        ({"x": 101}, "outside 0 to 100"),
        ({"x": 100, "width": 5}, "no area"),
        ({"x": 100, "rotation": -45, "width": 5, "height": 5}, "no area"),
        ({"rotation": "90"}, '"rotation" is not a number'),
        ({"rotation": math.nan}, '"rotation" is not a usable number'),
        ({"rotation": 45, "width": 1e40}, '"width" is not a usable number'),
    ],
)
def test_a_malformed_rectangle_is_named(changes, sentence):
    with pytest.raises(RequestError, match=sentence) as error:
        drawn_rectangles({}, [rectangle(**changes)], CONFIG, (10, 10))
    assert "rectangle 'r1'" in str(error.value)


def saved(*items, **about):
    return {"result": list(items), **about}


def unsigned(x):
    item = keypoint(x, 0)
    del item["is_positive"]
    return item


def test_a_task_that_already_carries_keypoints():
    task = {
        "annotations": [
            saved(unsigned(10), keypoint(20, 0, is_positive=False), updated_at="2026-01-01"),
            saved(unsigned(30), updated_at="2026-02-01"),
            saved(unsigned(40), updated_at="2026-03-01", was_cancelled=True),
            saved({"type": "brushlabels"}, updated_at="2026-04-01"),
        ],
        "predictions": [saved(unsigned(50))],
    }

    def clicks():
        return saved_clicks_by_label(task, CONFIG, (100, 100)).get("Object")

    assert clicks() == [Click(30, 0, True)]
    del task["annotations"][1]
    assert clicks() == [Click(10, 0, True), Click(20, 0, False)]
    del task["annotations"][0]
    assert clicks() == [Click(50, 0, True)]
    assert saved_clicks_by_label({}, CONFIG, (100, 100)) == {}
    assert saved_clicks_by_label({"annotations": 3, "predictions": [None]}, CONFIG, (9, 9)) == {}
    odd = [saved(updated_at=3), saved(updated_at="2026-01-01"), saved(updated_at=None)]
    assert saved_clicks_by_label({"annotations": odd}, CONFIG, (9, 9)) == {}


def test_the_recorded_batch_has_no_keypoints_and_the_saved_one_has():
    for task in recorded("predict_batch_retrieve")["tasks"]:
        assert saved_clicks_by_label(task, CONFIG, (321, 481)) == {}
    (task,) = recorded("predict_with_saved_keypoint")["tasks"]
    assert len(saved_clicks_by_label(task, CONFIG, (321, 481))["Object"]) == 1


def test_keypoints_keep_their_id_and_say_whether_they_were_clicked():
    items = [keypoint(10, 10), unsigned(30)]
    assert clicked_keypoints(items, CONFIG, (100, 100)) == [
        Keypoint("kp1", "Object", Click(10, 10, True), smart=True)
    ]
    assert [k.smart for k in saved_keypoints({"annotations": [saved(*items)]}, CONFIG, (9, 9))] == [
        True,
        False,
    ]


def test_a_keypoint_without_an_id_is_known_by_its_place():
    ids = [k.id for k in clicked_keypoints([keypoint(5, 6, id=None)], CONFIG, (10, 10))]
    assert ids == ["(5, 6)"]
