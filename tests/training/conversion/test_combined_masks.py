"""The rules by which RITM combines the masks of COCO and LVIS."""

import numpy as np
import pytest

from training.conversion.combined_masks import combine


def box(top, left, height, width):
    mask = np.zeros((100, 100), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def found(masks):
    return [tuple(np.argwhere(mask)[[0, -1]].ravel()) for mask in masks]


@pytest.mark.parametrize(
    ("coarse", "taken"),
    [
        pytest.param(box(10, 10, 20, 20), 1, id="the same object"),
        pytest.param(box(10, 10, 20, 15), 1, id="IoU 0.75"),
        pytest.param(box(10, 10, 20, 14), 2, id="IoU 0.70"),
        pytest.param(box(60, 60, 20, 20), 2, id="elsewhere"),
        pytest.param(box(60, 60, 8, 9), 1, id="72 pixels are too few"),
        pytest.param(box(60, 60, 8, 10), 2, id="80 are enough"),
    ],
)
def test_coco_adds_what_lvis_lacks(coarse, taken):
    combined = combine([box(10, 10, 20, 20)], [coarse], [])
    assert len(combined.whole) + len(combined.parts) == taken


def test_of_two_nearly_equal_masks_of_lvis_the_later_is_taken():
    combined = combine([box(10, 10, 20, 20), box(10, 10, 20, 18)], [], [])
    assert found(combined.whole) == [(10, 10, 29, 27)]
    assert not combined.parts


@pytest.mark.parametrize(("left", "is_part"), [(40, True), (41, True), (42, False), (60, False)])
def test_what_lies_on_a_larger_object_is_a_part(left, is_part):
    # 10 columns wide on an object that ends at column 49: 100 %, 90 %, 80 % of it are covered.
    combined = combine([box(10, left, 10, 10), box(5, 10, 40, 40)], [], [])
    assert len(combined.parts) == is_part


def test_masks_whose_boxes_overlap_little_are_different_objects():
    # A thin frame and what fills it: the masks never meet, the boxes nearly agree.
    frame = box(10, 10, 40, 40) & ~box(12, 12, 36, 36)
    combined = combine([frame], [box(12, 12, 36, 36)], [])
    assert len(combined.whole) == 2


def test_stuff_is_what_no_object_covers_if_enough_is_left():
    sky, grass = box(0, 0, 30, 100), box(60, 0, 10, 50)
    combined = combine([box(20, 20, 20, 20)], [], [sky, grass])
    (left,) = combined.stuff  # 500 pixels of grass are too few
    assert not left[20:30, 20:40].any()
    assert np.count_nonzero(left) == 3000 - 200


def test_without_objects_there_is_stuff_alone():
    combined = combine([], [], [box(0, 0, 30, 100)])
    assert (combined.whole, combined.parts, len(combined.stuff)) == ((), (), 1)
