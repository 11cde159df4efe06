"""Images of a size that a training can hold, whose objects stay large enough to be learned."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.datasets.large_images import CloseUps, Shrunk
from training.datasets.object_boxes import object_boxes
from training.datasets.sample import AnnotatedImage, layered

SIDE = 256


def annotated(size_hw, *boxes):
    """An image of random pixels with rectangles, (top, left, height, width), on it."""
    rng = np.random.default_rng(0)
    masks = []
    for top, left, height, width in boxes:
        mask = np.zeros(size_hw, dtype=bool)
        mask[top : top + height, left : left + width] = True
        masks.append(mask)
    layers, objects = layered(masks)
    pixels = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    return AnnotatedImage("slide", pixels, layers, objects)


def sides(part):
    """Rows and columns of each object that is asked for."""
    return [tuple(span.stop - span.start for span in box) for box in object_boxes(part)]


def test_what_is_small_enough_stays_as_it_is():
    image = annotated((SIDE, 100), (10, 10, 20, 20))
    assert CloseUps(SIDE, images=1)(image) == [image]
    assert Shrunk(SIDE)(image) == [image]
    assert Shrunk(None)(annotated((600, 20), (0, 0, 9, 9)))[0].image.shape == (600, 20, 3)


def test_small_objects_of_a_large_image_are_seen_as_they_are_and_once():
    image = annotated((900, 700), (100, 100, 10, 8), (120, 130, 10, 10), (800, 600, 6, 10))
    near, far = CloseUps(SIDE, images=1)(image)
    assert [part.image.shape[:2] for part in (near, far)] == [(160, 160)] * 2
    assert sides(near) == [(10, 8), (10, 10)]
    assert sides(far) == [(6, 10)]
    assert far.name == "slide[723:883, 525:685]"
    assert np.array_equal(far.image, image.image[723:883, 525:685])
    assert np.array_equal(far.layers, image.layers[723:883, 525:685])


@pytest.mark.parametrize(("longer", "parts"), [(6, 1), (5, 2)])
def test_a_part_around_an_object_shows_others_of_at_least_half_its_size(longer, parts):
    image = annotated((900, 700), (100, 100, 12, 12), (120, 170, longer, 3))
    assert len(CloseUps(SIDE, images=1)(image)) == parts


def test_a_part_shows_a_large_object_and_its_surroundings_shrunk():
    large, small = (300, 200, 160, 100), (350, 250, 5, 5)
    image = annotated((1200, 1000), large, small)
    parts = CloseUps(SIDE, images=1)(image)
    assert [part.image.shape[:2] for part in parts] == [(256, 256), (80, 80)]
    assert sides(parts[0]) == [(64, 40)]
    assert sides(parts[1]) == [(5, 5)]
    assert (parts[1].layers == image.layers[312:392, 212:292]).all(), "the large one is around it"


def test_an_object_as_large_as_the_image_is_seen_whole():
    (part,) = CloseUps(SIDE, images=1)(annotated((1000, 500), (100, 100, 700, 300)))
    assert part.image.shape == (256, 128, 3)
    assert sides(part) == [(179, 76)]


def test_objects_at_the_borders_of_the_image_are_seen_whole():
    parts = CloseUps(SIDE, images=1)(annotated((900, 700), (0, 0, 9, 9), (891, 691, 9, 9)))
    assert [sides(part) for part in parts] == [[(9, 9)]] * 2


def test_a_part_names_what_it_shows_of_stuff():
    squares = [(100, 100, 10, 10), (130, 100, 10, 10), (800, 600, 10, 10)]
    image = annotated((900, 700), *squares)
    image = replace(image, objects=image.objects[:1], stuff=image.objects[1:])
    (part,) = CloseUps(SIDE, images=1)(image)
    assert part.stuff == image.stuff[:1]


def test_of_an_image_that_is_large_in_one_direction_alone_parts_are_shown_too():
    near, far = CloseUps(SIDE, images=1)(annotated((200, 900), (9, 9, 20, 20), (9, 800, 20, 20)))
    assert [part.image.shape[:2] for part in (near, far)] == [(200, SIDE)] * 2


@pytest.mark.parametrize(
    ("images", "shapes"),
    [
        (60, [(256, 256), (160, 160), (160, 160)]),
        (150, [(256, 256)]),
        (300, [(256, 256)]),
        (5000, [(256, 256)]),
    ],
)
def test_the_more_images_there_are_the_fewer_and_larger_are_the_parts_of_each(images, shapes):
    crowd = [(20, 20 + 20 * i, 10, 10) for i in range(4)]
    pair = [(700, 600 + 20 * i, 10, 10) for i in range(2)]
    image = annotated((900, 900), (400, 500, 30, 10), *pair, *crowd)
    parts = CloseUps(SIDE, images)(image)
    assert sorted((part.image.shape[:2] for part in parts), reverse=True) == shapes
    assert sorted(place for part in parts for place in part.objects) == sorted(image.objects)


def test_parts_become_no_larger_than_they_must():
    """Here twice as large, for two of 149 images each to show three objects."""
    image = annotated((900, 900), (20, 20, 10, 10), (20, 220, 10, 10), (800, 800, 10, 10))
    parts = CloseUps(SIDE, images=149)(image)
    assert [part.name for part in parts] == ["slide[0:320, 0:320]", "slide[580:900, 580:900]"]


def test_of_one_part_alone_nothing_is_lost_that_shrinking_keeps():
    image = annotated((900, 900), (0, 0, 5, 5), (888, 888, 12, 12))
    (part,), (shrunk,) = CloseUps(SIDE, images=300)(image), Shrunk(SIDE)(image)
    assert np.array_equal(part.image, shrunk.image)
    assert part.objects == shrunk.objects


def test_pieces_of_other_objects_are_nothing_to_be_asked_for():
    middle, beside = (450, 400, 6, 6), (440, 320, 40, 40)
    part = CloseUps(SIDE, images=1)(annotated((900, 900), beside, middle))[1]
    assert sides(part) == [(6, 6)]
    assert len(np.unique(part.layers)) == 3, "nothing, the one and the piece"


def test_objects_that_vanish_are_left_out():
    line = annotated((6, 1024), (3, 0, 1, 1024))
    (part,) = Shrunk(64)(line)
    assert part.image.shape == (1, 64, 3)
    assert part.objects in ((), ((0, 1),))
    assert bool(part.objects) is bool(part.layers.any())


def test_what_stays_beside_something_that_vanishes_is_kept_and_stuff_is_no_object():
    lines, squares = ((20, 0, 1, 999), (140, 0, 1, 999)), ((64, 64, 64, 64), (64, 256, 64, 64))
    image = annotated((160, 1024), lines[0], squares[0], lines[1], squares[1])
    image = replace(image, objects=image.objects[:2], stuff=image.objects[2:])
    (part,) = Shrunk(64)(image)
    assert (part.objects, part.stuff) == (image.objects[1:], image.stuff[1:])


boxes = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 300), st.integers(9, 200), st.integers(9, 150)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(boxes)
def test_every_object_is_in_one_part_whole_and_not_too_small(boxes):
    image = annotated((700, 450), *boxes)
    parts = CloseUps(SIDE, images=1)(image)
    asked_for = [place for part in parts for place in part.objects]
    assert sorted(asked_for) == sorted(image.objects)
    for part in parts:
        assert max(part.image.shape[:2]) <= SIDE
        for place, seen in zip(part.objects, sides(part), strict=True):
            longer = max(boxes[image.objects.index(place)][2:])
            assert max(seen) >= min(longer, SIDE // 4) // 2
