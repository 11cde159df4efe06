"""Masks as COCO writes them: run lengths, packed ones, and polygons to the pixel."""

import numpy as np
import pytest

from training.conversion.coco_masks import decode_segmentation
from training.errors import DatasetError


def test_run_lengths_count_down_the_columns():
    # The example of the COCO API's documentation: 0 0 1 1 1 0 1.
    row = np.array([[0, 0, 1, 1, 1, 0, 1]], bool)

    np.testing.assert_array_equal(decode_segmentation({"counts": [2, 3, 1, 1]}, (1, 7)), row)
    np.testing.assert_array_equal(decode_segmentation({"counts": "231N"}, (1, 7)), row)
    np.testing.assert_array_equal(decode_segmentation({"counts": [2, 3, 1, 1]}, (7, 1)), row.T)


def packed(counts):
    """Write run lengths as text, as maskApi.c does."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr(48 + (bits | (0x20 if more else 0)))
            if not more:
                break
    return text


def test_packed_run_lengths_of_all_sizes():
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = [int(2 ** rng.uniform(0, 14)) for _ in range(rng.integers(1, 20))]
        size = (1, sum(counts))

        unpacked = decode_segmentation({"counts": packed(counts)}, size)

        np.testing.assert_array_equal(unpacked, decode_segmentation({"counts": counts}, size))


def test_other_segmentations_are_refused():
    with pytest.raises(DatasetError, match="neither"):
        decode_segmentation("m", (2, 2))
    with pytest.raises(DatasetError, match="cover 3 pixels of 4"):
        decode_segmentation({"counts": [3]}, (2, 2))


def drawn(*polygons, size=(40, 50)):
    """Draw polygons of (x, y) corners."""
    return decode_segmentation([np.ravel(each).tolist() for each in polygons], size)


def square(left, top, side):
    return [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]


def disc(x, y, radius):
    turn = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)


@pytest.mark.parametrize("shift", [0, 0.3, -0.3])
def test_a_square_covers_its_pixels_and_no_others(shift):
    mask = drawn(square(10 + shift, 20 + shift, 10))

    assert mask.sum() == 100
    assert mask[20:30, 10:20].all()


@pytest.mark.parametrize("middle", [(20, 20), (20.3, 20.7), (19.9, 20.4)])
def test_a_disc_is_as_large_as_it_is(middle):
    assert drawn(disc(*middle, 10)).sum() == pytest.approx(100 * np.pi, rel=0.01)


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    above = drawn([(3, 4), (31.2, 4), (31.2, 27.7), (17, 9.5)])
    below = drawn([(3, 4), (17, 9.5), (31.2, 27.7), (3, 27.7)])

    assert not (above & below).any()
    assert np.array_equal(above | below, drawn([(3, 4), (31.2, 4), (31.2, 27.7), (3, 27.7)]))


def test_a_tiny_polygon_is_kept_where_it_covers_a_centre():
    mask = drawn(square(10.4, 20.4, 0.2))

    assert mask.sum() == 1
    assert mask[20, 10]
    assert not drawn(square(10.6, 20.6, 0.2)).any()
    assert not drawn([(5, 5), (30, 5)]).any()


def test_a_polygon_is_cut_off_where_the_image_ends():
    assert drawn(square(-1000, -1000, 3000)).all()
    assert drawn(square(45, -5, 10)).sum() == 5 * 5
    assert not drawn(square(50, 10, 10), square(-10, 10, 10), square(10, 40, 10)).any()


def test_where_a_polygon_crosses_itself_it_has_a_hole_and_several_are_one_mask():
    around_twice = [*square(0, 0, 30), (0, 0), *square(10, 10, 10), (10, 10)]

    assert drawn(around_twice).sum() == 900 - 100
    assert drawn(square(0, 0, 20), square(10, 10, 20)).sum() == 400 + 400 - 100


def test_corners_that_are_no_numbers_are_refused():
    for polygon in ([], [[1, 2], [np.nan, 5], [7, 8]], [[1, 2], [np.inf, 5], [7, 8]]):
        with pytest.raises(DatasetError, match="a polygon has no corners, or one that is no pair"):
            drawn(polygon)
