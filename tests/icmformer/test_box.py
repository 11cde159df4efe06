import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from icmformer import STARTER, Box, Click, InputError, Predictor, Segmentation, load_checkpoint
from tests.icmformer.redness_network import Shown

PHOTOS = Path(__file__).parents[2] / "training/retention/judged"
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(load_checkpoint(STARTER))


def test_a_box_says_that_its_corners_are_not_the_object_and_its_middle_is():
    box = Box(2, 2, 8, 6)
    *corners, middle = box.clicks()
    assert middle == Click(5, 4, True)
    assert {(click.x, click.y) for click in corners} == {(2, 2), (8, 2), (2, 6), (8, 6)}
    assert not any(click.positive for click in corners)
    expected = np.zeros((10, 20), bool)
    expected[2:6, 2:8] = True
    np.testing.assert_array_equal(box.mask((10, 20)), expected)


def test_the_smallest_box_has_a_pixel():
    box = Box(2.3, 1.9, 2.4, 2.1)
    middle = box.clicks()[-1]
    assert box.mask((5, 5)).sum() == 2
    assert box.mask((5, 5))[math.floor(middle.y), math.floor(middle.x)]


@pytest.mark.parametrize(
    "sides",
    [
        (5, 0, 5, 9),
        (0, 9, 5, 8),
        (math.nan, 0, 5, 9),
        ("0", 0, 5, 9),
        (0, 0, math.inf, math.inf),
        (0, 0, 10**400, 10**400),
    ],
)
def test_what_is_no_box_is_refused(sides):
    with pytest.raises(InputError, match="left < right and top < bottom"):
        Box(*sides)


@pytest.mark.parametrize("corners", [((1, 2),), ((1, 1), (50, 50))])
def test_a_tilted_box_has_three_corners_at_least(corners):
    with pytest.raises(InputError, match="three corners or more"):
        Box(1, 1, 50, 50, corners=corners)


@pytest.mark.parametrize(
    "corners",
    [None, 7, (1, 2, 3), ((1,), (2,), (3,)), ((1, 2, 3),) * 3, ("12",) * 3, ((0, math.nan),) * 3],
)
def test_corners_are_pairs_of_numbers(corners):
    with pytest.raises(InputError, match="corners of a box need to be pairs of finite numbers"):
        Box(1, 1, 50, 50, corners=corners)


def test_corners_belong_to_their_box():
    with pytest.raises(InputError, match="are not those of a box with the sides"):
        Box(0, 0, 50, 50, corners=((60, 50), (70, 50), (70, 55)))


def test_corners_may_be_off_by_what_float32_rounds_and_no_more():
    corners = ((0.0, 0.4), (50.0, 0.4), (50.0, 50.0))
    assert Box(0, 0, 50, 50, corners=corners).corners == corners
    with pytest.raises(InputError, match="are not those of a box with the sides"):
        Box(0, 0, 50, 50, corners=((0, 0.6), (50, 0.6), (50, 50)))


def test_a_score_is_no_corner():
    """As a detector writes it behind the sides."""
    with pytest.raises(TypeError, match="positional arguments"):
        Box(1, 2, 30, 40, 0.9)


def test_corners_may_be_an_array_and_a_box_a_key():
    corners = ((10.0, 2.0), (20.0, 12.0), (10.0, 22.0), (0.0, 12.0))
    expected = Box(0, 2, 20, 22, corners=corners)
    for given in (np.array(corners, np.float32), list(map(list, corners)), iter(corners)):
        box = Box(0, 2, 20, 22, corners=given)
        assert (box, box.clicks()) == (expected, expected.clicks())
        assert {expected: "diamond"}[box]
        np.testing.assert_array_equal(box.mask((30, 30)), expected.mask((30, 30)))


def test_the_middle_of_what_is_seen_of_a_tilted_box_is_that_of_its_corners():
    """A triangle, cut off by the border of the image: the middle of its sides is on its edge."""
    triangle = Box(0, 0, 30, 30, corners=((0, 0), (30, 0), (0, 30)))
    assert triangle.clicks()[-1] == Click(10, 10, True)


def test_the_mask_of_a_tilted_box_is_where_the_box_is():
    corners = ((10, 0.3), (19.7, 10), (10, 19.7), (0.3, 10))
    mask = Box(0.3, 0.3, 19.7, 19.7, corners=corners).mask((20, 20))
    assert np.argwhere(mask).mean(axis=0) + 0.5 == pytest.approx([10, 10], abs=0.2)


def test_the_shape_of_an_image_is_no_size_of_a_mask():
    with pytest.raises(InputError, match="a height and a width"):
        Box(1, 2, 30, 40).mask(IMAGE.shape)


def test_the_starter_finds_what_a_box_was_drawn_around(predictor):
    """On the packaged photos, on which nothing was trained; the boxes alone reach .75."""
    ious, ious_of_boxes = [], []
    for path in sorted(PHOTOS.glob("images/*.jpg")):
        image = cv2.imread(str(path))[:, :, ::-1]
        instances = cv2.imread(str(PHOTOS / "masks" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        for instance in np.unique(instances[instances > 0]):
            target = instances == instance
            left, top, width, height = cv2.boundingRect(target.astype(np.uint8))
            box = Box(left, top, left + width, top + height)
            mask = predictor.segment_box(image, box).mask
            assert not (mask & ~box.mask(mask.shape)).any()
            ious.append(_iou(target, mask))
            ious_of_boxes.append(_iou(target, box.mask(mask.shape)))
    assert np.mean(ious_of_boxes) < 0.76
    assert np.mean(ious) > 0.85


def _iou(one, other):
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_a_box_is_looked_at_twice_and_the_second_look_reads_what_the_first_one_found():
    network = Shown()
    image = np.full((100, 100, 3), 100, np.uint8)
    image[30:60, 30:60] = (255, 0, 0)
    Predictor(network).segment_box(image, Box(28, 28, 62, 62))
    assert [bool(mask.any()) for mask in network.masks] == [False, True]


def test_clicks_go_on_from_a_box(predictor):
    box = Box(10, 10, 60, 50)
    first = predictor.segment_box(IMAGE, box)
    assert first.clicks == box.clicks()
    later = predictor.segment(IMAGE, [*first.clicks, Click(70.5, 55.5, True)], first)
    anew = predictor.segment(IMAGE, later.clicks)
    assert _iou(later.mask, first.mask) > _iou(anew.mask, first.mask)


def test_an_encoded_image_changes_no_answer(predictor):
    box = Box(10, 10, 60, 50)
    alone = predictor.segment_box(IMAGE, box)
    started = predictor.segment_box(IMAGE, box, predictor.encode(IMAGE))
    np.testing.assert_array_equal(alone.probability, started.probability)


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_side_may_lie_a_fraction_of_a_pixel_outside(predictor, side):
    within = {"left": 0, "top": 0, "right": 80, "bottom": 60}
    outside = {**within, side: within[side] + (-0.5 if side in ("left", "top") else 0.5)}
    np.testing.assert_array_equal(Box(**outside).mask((60, 80)), Box(**within).mask((60, 80)))
    assert predictor.segment_box(IMAGE, Box(**outside)).mask.any()


@pytest.mark.parametrize(
    ("box", "previous", "sentence"),
    [
        ((10, 10, 60, 50), None, "is no box"),
        (Box(10, 10, 99, 50), None, "the box from x=10, y=10 to x=99, y=50 is not on the image"),
        (Box(-1.1, 0, 9, 9), None, "the box from x=-1.1, y=0 to x=9, y=9 is not on the image"),
        (Box(10, 10, 60, 50), Segmentation.empty((9, 9)), "pixels high and wide"),
    ],
)
def test_what_does_not_go_together_is_refused(predictor, box, previous, sentence):
    with pytest.raises(InputError, match=sentence):
        predictor.segment_box(IMAGE, box, previous)


def test_a_box_does_not_go_on_from_clicks(predictor):
    clicked = predictor.segment(IMAGE, [Click(30, 30, True)])
    with pytest.raises(InputError, match=r"has clicks already; .* encode\(image\) returns"):
        predictor.segment_box(IMAGE, Box(10, 10, 60, 50), clicked)
