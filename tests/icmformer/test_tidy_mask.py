import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icmformer.clicks import Click
from icmformer.placed_clicks import PlacedClicks
from icmformer.predictor import Predictor
from icmformer.region_of_interest import RegionOfInterest, View
from icmformer.segmentation import MASK_THRESHOLD
from icmformer.tidy_mask import (
    obey_clicks,
    pixels_in_view,
    take_back_far_changes,
    without_specks,
)
from tests.toy_network import ToyNetwork

CLICK_INSIDE = np.array([[30, 30]])
POSITIVE = np.array([True])


def _blob():
    probability = np.full((100, 100), 0.1, dtype=np.float32)
    probability[20:60, 20:60] = 0.8
    return probability


def test_leaves_a_clean_mask_alone():
    np.testing.assert_array_equal(without_specks(_blob(), CLICK_INSIDE, POSITIVE), _blob())


def test_drops_specks_and_fills_pinholes():
    dirty = _blob()
    dirty[80:83, 80:83] = 0.9
    dirty[40:42, 50:52] = 0.2
    clean = without_specks(dirty, CLICK_INSIDE, POSITIVE)
    np.testing.assert_array_equal(clean > 0.49, _blob() > 0.49)


def test_keeps_what_was_clicked_however_small():
    dirty = _blob()
    dirty[80, 80] = 0.9
    dirty[40, 50] = 0.2
    pixels = np.array([[30, 30], [80, 80], [40, 50]])
    clean = without_specks(dirty, pixels, np.array([True, True, False]))
    np.testing.assert_array_equal(clean, dirty)


def test_keeps_parts_and_holes_of_some_size():
    parts = _blob()
    parts[70:80, 70:80] = 0.9
    parts[40:44, 40:44] = 0.2
    np.testing.assert_array_equal(without_specks(parts, CLICK_INSIDE, POSITIVE), parts)


def test_parts_and_holes_of_fifteen_pixels_go():
    dirty = _blob()
    dirty[70:73, 70:75] = 0.9
    dirty[40:43, 40:45] = 0.2
    clean = without_specks(dirty, CLICK_INSIDE, POSITIVE)
    np.testing.assert_array_equal(clean > 0.49, _blob() > 0.49)


def test_background_at_the_border_is_no_hole():
    full = np.full((50, 50), 0.9, dtype=np.float32)
    full[0, 0] = full[20, 49] = 0.1
    np.testing.assert_array_equal(without_specks(full, CLICK_INSIDE, POSITIVE), full)


def test_diagonal_neighbours_are_one_part():
    line = np.zeros((100, 100), dtype=np.float32)
    np.fill_diagonal(line, 0.9)
    np.testing.assert_array_equal(without_specks(line, CLICK_INSIDE, POSITIVE), line)


def test_without_a_positive_click_nothing_is_known_to_be_a_speck():
    specks = np.zeros((40, 40), dtype=np.float32)
    specks[::10, ::10] = 0.9
    same = without_specks(specks, np.array([[5, 5]]), np.array([False]))
    np.testing.assert_array_equal(same, specks)


def test_pixels_in_view_lie_on_what_resizing_puts_there():
    clicks = PlacedClicks.on_image(
        [Click(100.5, 50.5, True), Click(149.9, 99.9, False), Click(10, 10, True)], (200, 300)
    )
    view = View((200, 300), RegionOfInterest(50, 99, 100, 149), (100, 500), False)
    pixels, positive = pixels_in_view(clicks, view)
    assert pixels.tolist() == [[0, 4], [98, 494]]
    assert positive.tolist() == [True, False]


def test_every_click_on_a_shrunk_view_lies_in_it():
    view = View((200, 300), RegionOfInterest(50, 149, 100, 199), (40, 30), False)
    corners = [Click(100.5, 50.5, True), Click(199.5, 149.5, True)]
    pixels, _ = pixels_in_view(PlacedClicks.on_image(corners, (200, 300)), view)
    assert pixels.tolist() == [[0, 0], [39, 29]]


def test_a_click_one_pixel_beyond_a_view_is_not_in_it():
    clicks = PlacedClicks.on_image(
        [Click(x + 0.5, y + 0.5, True) for x, y in ((20, 10), (30, 10), (20, 20), (29, 19))],
        (60, 80),
    )
    view = View((60, 80), RegionOfInterest(10, 19, 20, 29), (10, 10), False)
    pixels, positive = pixels_in_view(clicks, view)
    assert pixels.tolist() == [[0, 0], [9, 9]]
    assert positive.tolist() == [True, True]


VIEW = View((60, 80), RegionOfInterest.whole((60, 80)), (60, 80))


def test_contradicted_clicks_get_a_small_disk():
    probability = np.zeros((60, 80), dtype=np.float32)
    clicks = PlacedClicks.on_image([Click(40.5, 30.5, True)], (60, 80))
    obey_clicks(probability, clicks, VIEW)
    assert probability.sum() == 13, "radius 2"
    assert probability[30, 38:43].tolist() == [1] * 5


def test_obeyed_clicks_change_nothing():
    probability = np.full((60, 80), 0.6, dtype=np.float32)
    clicks = PlacedClicks.on_image([Click(40.5, 30.5, True)], (60, 80))
    obey_clicks(probability, clicks, VIEW)
    assert (probability == np.float32(0.6)).all()


@pytest.mark.parametrize(
    ("network_hw", "down", "across"), [((60, 80), 20, 20), ((60, 160), 20, 10)]
)
def test_disks_grow_with_the_pixels_that_the_network_saw(network_hw, down, across):
    probability = np.zeros((600, 800), dtype=np.float32)
    view = View((600, 800), RegionOfInterest.whole((600, 800)), network_hw)
    clicks = PlacedClicks.on_image([Click(400, 300, True)], (600, 800))
    obey_clicks(probability, clicks, view)
    rows, columns = np.flatnonzero(probability[:, 400]), np.flatnonzero(probability[300])
    assert (rows[0], rows[-1]) == (300 - down, 300 + down)
    assert (columns[0], columns[-1]) == (400 - across, 400 + across)


@settings(max_examples=60)
@given(
    places=st.lists(
        st.tuples(
            st.floats(0, 30, exclude_max=True), st.floats(0, 20, exclude_max=True), st.booleans()
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda place: (int(place[0]), int(place[1])),
    ),
    seed=st.integers(0, 3),
)
def test_every_click_is_obeyed(places, seed):
    image = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    clicks = [Click(*place) for place in places]
    predictor = Predictor(ToyNetwork())
    mask = predictor.segment(image, clicks).mask
    for click in clicks:
        assert mask[int(click.y), int(click.x)] == click.positive


@pytest.mark.parametrize("last", [True, False])
def test_the_last_click_on_a_pixel_counts(last):
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    clicks = [Click(10.2, 10.3, not last), Click(10.8, 10.6, last)]
    result = Predictor(ToyNetwork()).segment(image, clicks)
    assert result.mask[10, 10] == last


def _whole_view(size_hw=(100, 100), network_hw=(100, 100)):
    return View(size_hw, RegionOfInterest.whole(size_hw), network_hw, as_published=False)


def _kept(before, after, pixel, view):
    """Return what stays of an answer, and see to it that what was clicked stays as it is."""
    kept, unchanged = after.copy(), before.copy()
    take_back_far_changes(before, kept, pixel, view)
    np.testing.assert_array_equal(before, unchanged)
    return kept


def test_a_correction_leaves_alone_what_it_was_not_about():
    before, after = _blob(), _blob()
    after[20:30, 20:60] = 0.1  # asked for
    after[80:95, 80:95] = 0.9  # not asked for
    after[50:55, 30:35] = 0.7  # still object
    kept = _kept(before, after, np.array([25, 40]), _whole_view())
    wanted = after.copy()
    wanted[80:95, 80:95] = 0.1
    np.testing.assert_array_equal(kept, wanted)


def test_a_correction_just_beside_the_click_counts():
    before, after = _blob(), _blob()
    after[60:70, 20:60] = 0.9
    after[80:95, 80:95] = 0.9
    kept = _kept(before, after, np.array([58, 40]), _whole_view())
    assert (kept[60:70, 20:60] == np.float32(0.9)).all()
    assert (kept[80:95, 80:95] == np.float32(0.1)).all()


def test_a_click_that_nothing_changed_around_changes_what_the_network_wants():
    before, after = _blob(), _blob()
    after[80:95, 80:95] = 0.9
    np.testing.assert_array_equal(_kept(before, after, np.array([40, 40]), _whole_view()), after)


def test_the_reach_of_a_click_grows_with_the_pixels_that_the_network_saw():
    before, after = _blob(), _blob()
    after[66:70, 20:60] = 0.9
    after[80:95, 80:95] = 0.9
    near, far = (
        _kept(before, after, np.array([58, 40]), _whole_view(network_hw=hw))
        for hw in ((25, 25), (100, 100))
    )
    assert near[90, 90] == np.float32(0.1)
    assert far[90, 90] == np.float32(0.9)


def test_a_click_at_the_corner():
    before, after = _blob(), _blob()
    after[:5, :5] = after[80:95, 80:95] = 0.9
    kept = _kept(before, after, np.array([0, 0]), _whole_view())
    assert kept[0, 0] == np.float32(0.9)
    assert kept[90, 90] == np.float32(0.1)


def _kept_of_the_whole_image(before, after, pixel, view):
    """The same, as plainly as it can be said: every pixel of the image has a label."""
    changed = (before > MASK_THRESHOLD) != (after > MASK_THRESHOLD)
    _, labels = cv2.connectedComponents(changed.astype(np.uint8), connectivity=8)
    down, across = (
        int(2.5 * box / seen) for box, seen in zip(view.box.size_hw, view.size_hw, strict=True)
    )
    rows, columns = np.indices(before.shape)
    near = (abs(rows - pixel[0]) <= down) & (abs(columns - pixel[1]) <= across)
    reached = set(labels[near & changed])
    if not reached:
        return after
    return np.where(changed & ~np.isin(labels, list(reached)), before, after)


@settings(max_examples=200, deadline=None)
@given(
    size_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0, 0.002, 0.02, 0.2, 1]),
    shrunk=st.integers(1, 5),
)
def test_what_is_taken_back_is_as_if_the_whole_image_were_labelled(size_hw, seed, share, shrunk):
    random = np.random.default_rng(seed)
    before = random.random(size_hw, dtype=np.float32)
    other = random.random(size_hw, dtype=np.float32)
    after = np.where(random.random(size_hw) < share, other, before)
    pixel = random.integers(0, size_hw)
    view = _whole_view(size_hw, tuple(-(-side // shrunk) for side in size_hw))

    kept = _kept(before, after, pixel, view)

    np.testing.assert_array_equal(kept, _kept_of_the_whole_image(before, after, pixel, view))


def _large_blob():
    probability = np.full((460, 460), 0.1, dtype=np.float32)
    probability[:400, :400] = 0.9
    return probability


@pytest.mark.parametrize(("rows", "columns", "stays"), [(39, 40, False), (41, 40, True)])
def test_parts_below_a_hundredth_of_a_large_mask_go(rows, columns, stays):
    parts = _large_blob()
    parts[410 : 410 + rows, :columns] = 0.9
    assert without_specks(parts, CLICK_INSIDE, POSITIVE)[415, 5] == np.float32(0.9 * stays)


@pytest.mark.parametrize(("rows", "columns", "stays"), [(12, 13, False), (13, 13, True)])
def test_holes_below_a_thousandth_of_a_large_mask_are_filled(rows, columns, stays):
    lattice = _large_blob()
    lattice[100 : 100 + rows, 100 : 100 + columns] = 0.1
    filled = without_specks(lattice, CLICK_INSIDE, POSITIVE)[105, 105]
    assert filled == np.float32(0.1 if stays else 1)


def test_a_hole_that_touches_the_background_at_a_corner_is_a_hole():
    dented = _blob()
    dented[20, 20] = 0.1
    dented[21:23, 21:23] = 0.1
    assert (without_specks(dented, CLICK_INSIDE, POSITIVE)[21:23, 21:23] == 1).all()


def test_the_disk_of_a_click_reaches_half_the_way_to_the_next_of_the_other_sign():
    probability = np.zeros((600, 800), dtype=np.float32)
    view = View((600, 800), RegionOfInterest.whole((600, 800)), (60, 80))
    clicks = PlacedClicks.on_image([Click(400, 300, True), Click(412, 300, False)], (600, 800))
    obey_clicks(probability, clicks, view)
    painted = np.flatnonzero(probability[300])
    assert (painted[0], painted[-1]) == (394, 406)


def test_what_changed_and_touches_at_a_corner_is_one_area():
    before, after = _blob(), _blob()
    after[25:30, 40:45] = after[30:35, 45:50] = 0.1
    kept = _kept(before, after, np.array([27, 42]), _whole_view())
    np.testing.assert_array_equal(kept, after)


@pytest.mark.parametrize(("distance", "stays"), [(25, True), (26, False)])
def test_a_click_reaches_two_and_a_half_pixels_of_the_network(distance, stays):
    before, after = np.zeros((2, 200, 200), dtype=np.float32)
    after[50, 50] = after[50:60, 50 + distance : 60 + distance] = 0.9
    kept = _kept(before, after, np.array([50, 50]), _whole_view((200, 200), (20, 20)))
    assert (kept[55, 50 + distance] > 0.5) == stays
