"""The memory of masks: the longest prefix, within its bound, shared by threads."""

import gc
import math
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from icmformer import Click, Segmentation
from icmformer.region_of_interest import RegionOfInterest, View, bounding_box
from icmformer.segmentation import CropFeatures
from ml_backend.serving.click_sessions import ClickSessions, ObjectKey

KEY = ObjectKey(project="2.17", task="9", image="abc", label="Object", version="v1")
A, B, C = Click(1, 1, True), Click(2, 2, True), Click(3, 3, False)
BYTES = 4 * 10 * 10


def segmentation(*clicks, size_hw=(10, 10)):
    return Segmentation(np.full(size_hw, 0.25, np.float32), clicks)


def features_of(nbytes):
    """Stand for what a network keeps of a crop."""
    view = View((10, 10), RegionOfInterest(0, 9, 0, 9), (10, 10), False)
    return CropFeatures(view, np.zeros(nbytes, np.uint8))


def same(found, kept):
    return found.clicks == kept.clicks and np.array_equal(found.probability, kept.probability)


def holding(*entries, max_bytes=10 * BYTES):
    sessions = ClickSessions(max_bytes)
    for entry in entries:
        sessions.remember(KEY, entry)
    return sessions


def test_longest_prefix_wins():
    one, two = segmentation(A), segmentation(A, B)
    sessions = holding(one, two)
    assert same(sessions.longest_prefix(KEY, [A, B, C]), two)
    assert same(sessions.longest_prefix(KEY, [A, B]), two)
    assert same(sessions.longest_prefix(KEY, [A, C]), one)
    assert same(sessions.longest_prefix(KEY, [A]), one)
    assert sessions.longest_prefix(KEY, [B, A]) is None
    assert sessions.longest_prefix(KEY, []) is None


def test_sign_and_place_of_a_click_matter():
    sessions = holding(segmentation(A))
    assert sessions.longest_prefix(KEY, [Click(1, 1, False)]) is None
    assert sessions.longest_prefix(KEY, [Click(1, 1.001, True)]) is None


def test_every_part_of_the_key_matters():
    sessions = holding(segmentation(A))
    for part in ("project", "task", "image", "label", "version"):
        other = ObjectKey(**{**vars(KEY), part: "other"})
        assert sessions.longest_prefix(other, [A]) is None


def test_what_an_object_starts_from_has_no_clicks_and_is_not_its_own():
    sessions, start = holding(segmentation(A)), segmentation()
    of_image = replace(KEY, label=None)
    sessions.remember(of_image, start)
    assert same(sessions.longest_prefix(of_image, []), start)
    assert sessions.longest_prefix(KEY, [B]) is None


def test_bound_in_bytes_drops_what_was_not_used_for_longest():
    sessions = holding(segmentation(A), segmentation(B), max_bytes=2 * BYTES)
    sessions.longest_prefix(KEY, [A])
    sessions.remember(KEY, segmentation(C))
    assert sessions.longest_prefix(KEY, [B]) is None
    assert sessions.longest_prefix(KEY, [A]) is not None
    assert sessions.longest_prefix(KEY, [C]) is not None
    assert sessions.nbytes == 2 * BYTES


def test_what_is_larger_than_the_bound_is_not_kept_and_drops_nothing():
    sessions = holding(segmentation(A), max_bytes=BYTES)
    sessions.remember(KEY, segmentation(B, size_hw=(100, 100)))
    assert sessions.longest_prefix(KEY, [B]) is None
    assert sessions.longest_prefix(KEY, [A]) is not None


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.sampled_from([0, 0.5, 1]),
    ),
)
def test_what_lies_outside_the_object_takes_no_memory(probability):
    kept = Segmentation(probability, (A,), RegionOfInterest(0, 1, 2, 3), image_fingerprint=7)
    sessions = holding(kept)
    found = sessions.longest_prefix(KEY, [A])
    box = bounding_box(probability)
    assert same(found, kept)
    assert (found.region, found.image_fingerprint, found.features) == (kept.region, 7, None)
    assert sessions.nbytes == (4 * math.prod(box.size_hw) if box else 0)


def test_features_count_as_much_as_masks():
    sessions = ClickSessions(2 * BYTES + 2000)
    for click in (A, B, C):
        sessions.remember(KEY, replace(segmentation(click), features=features_of(1000)))
    assert sessions.nbytes == 2 * (BYTES + 1000)
    assert sessions.longest_prefix(KEY, [A]) is None


@pytest.mark.parametrize("side", [0, 3], ids=["before any object", "an object"])
def test_the_whole_map_is_let_go(side):
    probability = np.zeros((10, 10), np.float32)
    probability[:side, :side] = 1
    whole, sessions = weakref.ref(probability), ClickSessions(10 * BYTES)
    sessions.remember(KEY, Segmentation(probability, (A,)))
    del probability
    gc.collect()
    assert whole() is None
    assert sessions.longest_prefix(KEY, [A]).probability.sum() == side**2


def test_remembering_twice_counts_once():
    sessions = holding(segmentation(A), segmentation(A))
    assert sessions.nbytes == BYTES


def test_clear_forgets_everything():
    sessions = holding(segmentation(A))
    sessions.clear()
    assert sessions.longest_prefix(KEY, [A]) is None
    assert sessions.nbytes == 0


def test_threads_keep_the_count_right():
    sessions = ClickSessions(5 * BYTES)

    def use(number):
        click = Click(number % 20, 0, True)
        sessions.remember(KEY, segmentation(click))
        found = sessions.longest_prefix(KEY, [click, A])
        return found is None or found.clicks == (click,)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(2000)))
    assert sessions.nbytes <= 5 * BYTES
    sessions.clear()
    assert sessions.nbytes == 0
