"""Corrections are seen in a window around their click, and put back without a seam."""

import numpy as np
import pytest

from icmformer.clicks import Click
from icmformer.local_refinement import blend_in
from icmformer.predictor import Predictor
from icmformer.region_of_interest import RegionOfInterest
from icmformer.repeated_zoom_in import RepeatedZoomIn
from icmformer.segmentation import Segmentation
from tests.icmformer.redness_network import RednessNetwork

LOOK = RepeatedZoomIn((336, 336))


def test_the_window_shows_the_surroundings_of_the_click():
    pixel = np.array([400, 700])
    close = LOOK.refinement_window(pixel, RegionOfInterest(100, 599, 200, 1199), (2000, 2000))
    assert close.size_hw == (400, 400)
    assert (close.row_min + close.row_max, close.column_min + close.column_max) == (799, 1399)


def test_at_the_border_of_the_image_it_is_shifted_inside():
    whole = RegionOfInterest.whole((1000, 800))
    assert LOOK.refinement_window(np.array([0, 799]), whole, (1000, 800)) == RegionOfInterest(
        0, 399, 400, 799
    )


@pytest.mark.parametrize(("side", "shown"), [(300, 120), (100, 42), (61, 42), (59, None)])
def test_it_is_never_magnified_more_than_the_rest_and_left_out_where_it_shows_no_more(side, shown):
    region = RegionOfInterest(500, 500 + side - 1, 500, 500 + side - 1)
    close = LOOK.refinement_window(np.array([520, 520]), region, (2000, 2000))
    assert (close and close.size_hw) == (shown and (shown, shown))


def test_inside_the_window_the_close_up_counts_and_elsewhere_the_whole():
    whole, close = np.zeros((60, 80), np.float32), np.ones((60, 80), np.float32)
    window = RegionOfInterest(10, 49, 20, 59)
    blend_in(whole, close, window)
    assert (whole[19:40, 29:50] == 1).all()
    outside = whole.copy()
    outside[window.slices] = 0
    assert not outside.any()
    across = whole[30, 20:60]
    assert (np.diff(across[:10]) > 0).all()
    np.testing.assert_allclose(across, across[::-1])


def test_where_the_image_ends_there_is_no_transition():
    whole, close = np.zeros((40, 80), np.float32), np.ones((40, 80), np.float32)
    blend_in(whole, close, RegionOfInterest(0, 39, 40, 79))
    assert (whole[:, 50:] == 1).all()
    assert whole[20, 40] < 0.2


def test_a_window_one_pixel_away_from_where_the_image_ends_has_a_transition():
    whole, close = np.zeros((40, 40), np.float32), np.ones((40, 40), np.float32)
    blend_in(whole, close, RegionOfInterest(1, 38, 1, 38))
    assert max(whole[1, 20], whole[38, 20], whole[20, 1], whole[20, 38]) < 0.2


def spiked():
    """A large red box, and out of it a line too thin to be seen when the box fills the view."""
    image = np.full((2000, 2000, 3), 100, dtype=np.uint8)
    image[600:1400, 600:1400] = (255, 0, 0)
    image[998:1001, 1400:1500] = (255, 0, 0)
    return image


def test_a_correction_follows_what_only_a_close_up_shows():
    image = spiked()
    find = [Click(1000, 1000, True), Click(200, 200, False)]
    network = RednessNetwork()
    predictor = Predictor(network)
    found = predictor.segment(image, find)
    assert not found.mask[999, 1410:1490].any()
    network.passes = 0
    corrected = predictor.segment(image, [*find, Click(1450, 999, True)], found)
    assert network.passes == 2
    assert corrected.mask[999, 1405:1490].all()
    assert corrected.mask[600:1400, 600:1400].mean() > 0.98
    assert corrected.region == found.region


def test_the_features_of_the_whole_view_are_kept_for_the_next_click():
    clicks = [Click(1000, 1000, True), Click(200, 200, False), Click(1450, 999, True)]
    predictor = Predictor(RednessNetwork())
    step = predictor.segment(spiked(), clicks)
    assert step.features.view.box == step.region


class Fickle(RednessNetwork):
    """Takes blue for the object, too, from when it is told so; notes the masks it is shown."""

    def __init__(self):
        super().__init__()
        self.takes_blue = False
        self.shown = []

    def fuse(self, features, click_maps, previous_mask):
        self.shown.append(previous_mask)
        colour = [0, 2] if self.takes_blue else [0]
        brightest = features.image[:, colour].amax(1, keepdim=True)
        return self.weight * (brightest - features.image[:, 1:2] - 0.5)


NEAR, FAR = (slice(12, 18), slice(24, 26)), (slice(12, 18), slice(27, 29))


def after_a_change_of_mind(count, scale, is_given=False):
    """Return the mask, a pixel for each cell, after so many clicks: blue counts for the last.

    Where the mask before it is given, the last click is its first.
    """
    cells = np.full((36, 36, 3), 100, dtype=np.uint8)
    cells[4:32, 4:24] = (255, 0, 0)
    cells[NEAR] = cells[FAR] = (0, 0, 255)
    image = cells.repeat(scale, axis=0).repeat(scale, axis=1)
    *first, last = [
        Click(column * scale, row * scale, positive)
        for column, row, positive in [*[(14, 18, True), (2, 2, False)][: count - 1], (25, 15, True)]
    ]
    network = Fickle()
    predictor = Predictor(network)
    before = predictor.segment(image, first)
    assert not before.mask[::scale, ::scale][FAR].any()
    network.takes_blue = True
    if is_given:
        first, before = [], Segmentation.from_mask(before.mask)
    after = predictor.segment(image, [*first, last], before)
    return after.mask[scale // 2 :: scale, scale // 2 :: scale], network


@pytest.mark.parametrize("scale", [1, 10], ids=["without a close-up", "with one"])
@pytest.mark.parametrize(("count", "takes_far"), [(2, True), (3, False)])
def test_from_the_third_click_on_only_what_is_around_the_click_changes(count, takes_far, scale):
    mask, _ = after_a_change_of_mind(count, scale)
    assert mask[NEAR].all()
    assert (mask[FAR] == takes_far).all()


@pytest.mark.parametrize("scale", [1, 10], ids=["without a close-up", "with one"])
def test_a_given_mask_says_which_object_is_meant_so_that_its_first_click_corrects(scale):
    mask, _ = after_a_change_of_mind(2, scale, is_given=True)
    assert mask[NEAR].all()
    assert mask[4:32, 4:24].all()
    assert not mask[FAR].any()


def test_the_close_up_starts_from_what_the_look_before_it_found():
    _, network = after_a_change_of_mind(3, scale=10)
    *_, whole, close = network.shown
    assert not (whole[0, 0, 75:110, 150:160] > 0.5).any(), "the part is new to the first look"
    assert close[0, 0, 112, 112] > 0.5, "the click is in the middle of the window"
