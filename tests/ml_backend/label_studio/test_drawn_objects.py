"""Which regions become one object, and what the object's own region is called."""

import numpy as np
import pytest

from icmformer import Click
from ml_backend.errors import RequestError
from ml_backend.label_studio.drawn_objects import carries_objects, drawn_objects, shown_size
from ml_backend.label_studio.labeling_config import parse
from tests.ml_backend.label_studio_requests import (
    SIZE_HW,
    by_hand,
    keypoint,
    recorded,
    saved_task,
)

CONFIG = parse(recorded("predict_click1_positive")["label_config"])
TASK = {"id": 9, "project": 2}


def drawn(*items, task=TASK):
    return drawn_objects(task, {"result": list(items)}, CONFIG, SIZE_HW)


def ids(*items, task=TASK):
    return [one.region_id for one in drawn(*items, task=task)]


def test_clicks_of_one_label_are_one_object_in_order():
    (found,) = drawn(keypoint(10, 10), keypoint(20, 20, positive=False), keypoint(30, 30))
    assert [click.positive for click in found.clicks] == [True, False, True]
    assert found.label == "Object"
    assert found.box is None


def test_id_comes_from_the_first_keypoint_alone():
    first = keypoint(10, 10, id="a")
    assert ids(first) == ids(first, keypoint(20, 20, id="b"))
    assert ids(first) == ids(keypoint(50, 50, id="a"))
    assert ids(first) != ids(keypoint(10, 10, id="b"))
    assert ids(keypoint(20, 20, id="b")) == ids(keypoint(20, 20, id="b"), first)


def test_id_belongs_to_task_project_and_label():
    first = keypoint(10, 10, id="a")
    other_label = keypoint(10, 10, id="a", label="Other")
    found = [
        *ids(first),
        *ids(other_label),
        *ids(first, task={**TASK, "id": 10}),
        *ids(first, task={**TASK, "project": 3}),
    ]
    assert len(set(found)) == 4
    assert all(len(one) == 10 and one.isalnum() for one in found)


def test_a_rectangle_is_an_object_of_its_own():
    item = recorded("predict_smart_rectangle")["params"]["context"]["result"][0]
    (first,), (second,) = drawn(item), drawn({**item, "id": "second"})
    assert first.region_id != second.region_id
    assert first.box
    assert not first.clicks


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (keypoint(1, 1, label="Zebra"), "the click has none of the brushes' labels, Object, Other"),
        (
            {"type": "brushlabels", "value": {}},
            'type brushlabels are not answered: .* smart="false',
        ),
    ],
)
def test_where_nothing_counts_it_is_said_why(item, sentence):
    with pytest.raises(RequestError, match=sentence):
        drawn(item)
    assert drawn() == []


def test_what_is_said_does_not_grow_with_what_was_drawn():
    kinds = [{"type": f"kind{number:03d}"} for number in range(100)]
    with pytest.raises(RequestError, match="kind008, kind009 and 90 more are not answered"):
        drawn(*kinds)
    with pytest.raises(RequestError, match=r"type 0{79}… are not answered"):
        drawn({"type": "0" * 1_000_000})


def test_batch_takes_smart_keypoints_together_and_others_one_by_one():
    task = saved_task(
        keypoint(1, 1, id="a"), by_hand(5, 5, id="h"), keypoint(2, 2, id="b", positive=False)
    )
    smart, alone = drawn_objects(task, None, CONFIG, SIZE_HW)
    assert [click.positive for click in smart.clicks] == [True, False]
    assert [click.positive for click in alone.clicks] == [True]
    assert smart.region_id != alone.region_id


def saved(*items):
    """What a task has saved, on an image of 100 by 100 pixels."""
    return drawn_objects(saved_task(*items), None, CONFIG, (100, 100))


def test_points_of_one_label_say_of_each_other_what_is_not_the_object():
    everything = np.ones((100, 100), bool)
    smart, left, middle, right, elsewhere = saved(
        by_hand(10, 50, id="a"),
        by_hand(30, 50, id="b"),
        by_hand(60, 50, id="c"),
        by_hand(11, 50, id="d", label="Other"),
        keypoint(29, 50, id="e"),
    )
    assert left.other_in(everything) == Click(30, 50, False)
    assert middle.other_in(everything) == Click(10, 50, False)
    assert right.other_in(everything) == Click(30, 50, False)
    assert elsewhere.other_in(everything) is None
    assert smart.other_in(everything) is None


def test_another_point_counts_only_in_the_mask():
    left, *_ = saved(by_hand(10, 50, id="a"), by_hand(30, 50, id="b"), by_hand(60, 50, id="c"))
    mask = np.zeros((100, 100), bool)
    assert left.other_in(mask) is None
    mask[50, 60] = True
    assert left.other_in(mask) == Click(60, 50, False)


@pytest.mark.parametrize(("y", "are_two"), [(52.1, False), (52.3, True)])
def test_points_less_than_three_pixels_apart_mark_the_same_object(y, are_two):
    everything = np.ones((100, 100), bool)
    for one in saved(by_hand(10, 50, id="a"), by_hand(12, y, id="b")):
        assert (one.other_in(everything) is not None) is are_two


def test_rectangles_and_clicks_know_of_no_other_points():
    item = recorded("predict_smart_rectangle")["params"]["context"]["result"][0]
    found = drawn(item, keypoint(10, 10), by_hand(50, 50))
    assert [one.marked for one in found] == [(), ()]


def test_task_of_a_batch_is_known_to_carry_nothing_without_its_image():
    assert not carries_objects(saved_task(), CONFIG)
    assert not carries_objects({}, CONFIG)
    assert carries_objects(saved_task(keypoint(1, 1)), CONFIG)


def test_odd_ids_are_as_good_as_any():
    assert len(ids(keypoint(1, 1, id="\ud800\n"), task={"id": ["x"], "project": None})) == 1


@pytest.mark.parametrize(
    ("items", "size_hw"),
    [
        ([], None),
        ([{"original_height": 3, "original_width": 4}, {"id": "r"}, "noise"], (3, 4)),
        ([{"original_height": n, "original_width": 2 * n} for n in (1, 2)], (2, 4)),
        ([{"original_height": 3, "original_width": None}], None),
        ([{"original_height": True, "original_width": 4}], None),
        ("noise", None),
    ],
)
def test_the_image_is_as_large_as_the_newest_region_says(items, size_hw):
    assert shown_size({"result": items}) == size_hw
    assert shown_size(None) is None
