"""What a first click is on is looked for closer where it does not stand out in the whole image."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icmformer.clicks import Click
from icmformer.first_click import is_clearer, is_cut_off, not_too_large, stands_out
from icmformer.predictor import Predictor
from icmformer.region_of_interest import RegionOfInterest
from icmformer.repeated_zoom_in import RepeatedZoomIn
from icmformer.segmentation import Segmentation
from icmformer.specialised import Specialised
from icmformer.variants import build_model
from tests.icmformer.redness_network import RednessNetwork

WHOLE = RegionOfInterest(0, 99, 0, 99)
WINDOW = RegionOfInterest(25, 74, 25, 74)


def found(inside, outside, box=WHOLE, at=(slice(40, 60), slice(40, 60))):
    """A mask of 20 x 20 pixels, and what is seen around it; nothing outside of the box."""
    probability = np.zeros((100, 100), dtype=np.float32)
    probability[box.slices] = outside
    probability[at] = inside
    return probability


@pytest.mark.parametrize(
    ("inside", "outside", "does"),
    [(0.9, 0.1, True), (0.6, 0.15, True), (0.6, 0.3, False), (0.9, 0.48, True), (0.3, 0.2, False)],
)
def test_a_mask_stands_out_by_its_probability_over_what_is_around(inside, outside, does):
    assert stands_out(found(inside, outside), WHOLE) is does


def test_a_mask_that_fills_what_was_seen_does_not_stand_out():
    assert not stands_out(found(0.99, 0.99), WHOLE)


def test_only_what_was_seen_counts():
    """Outside of the region the probability is 0, whatever the network would have said there."""
    seen_closer = found(0.7, 0.4, WINDOW)
    assert stands_out(seen_closer, WHOLE)
    assert not stands_out(seen_closer, WINDOW)


def test_a_thin_mask_of_a_large_image_stands_out():
    thin = np.zeros((1500, 1500), dtype=np.float32)
    thin[700:703, 100:1400] = 0.9
    assert stands_out(thin, RegionOfInterest.whole(thin.shape))


@pytest.mark.parametrize("scale", [1, 7, 40])
def test_the_size_of_the_image_makes_no_difference(scale):
    for inside, does in [(0.62, True), (0.58, False)]:
        large = found(inside, 0.2).repeat(scale, axis=0).repeat(scale, axis=1)
        assert stands_out(large, RegionOfInterest.whole(large.shape)) is does


@pytest.mark.parametrize(("outside", "is_so"), [(0.2, True), (0.24, True), (0.26, False)])
def test_a_closer_look_counts_if_the_mask_stands_out_more_by_some(outside, is_so):
    before = found(0.6, 0.3)
    assert is_clearer(found(0.6, outside, WINDOW), WINDOW, before, WHOLE) is is_so


def test_a_closer_look_is_compared_with_all_that_was_looked_at_before():
    before = found(0.6, 0.4)
    before[WINDOW.slices] = found(0.6, 0.0)[WINDOW.slices]
    assert is_clearer(found(0.6, 0.2, WINDOW), WINDOW, before, WHOLE)


@pytest.mark.parametrize(
    "at", [(slice(25, 40), slice(40, 60)), (slice(60, 75), slice(40, 60)),
           (slice(40, 60), slice(25, 40)), (slice(40, 60), slice(60, 75))],
    ids=["above", "below", "left", "right"],
)  # fmt: skip
def test_a_mask_at_the_border_of_what_was_looked_at_is_cut_off(at):
    assert is_cut_off(found(0.9, 0.0, WINDOW, at), WINDOW)
    assert not is_cut_off(found(0.9, 0.0, WINDOW), WINDOW)


@pytest.mark.parametrize("size_hw", [(60, 100), (100, 60)])
@pytest.mark.parametrize("bottom", [False, True], ids=["top", "bottom"])
@pytest.mark.parametrize("right", [False, True], ids=["left", "right"])
def test_at_the_image_s_own_border_nothing_is_cut_off(size_hw, bottom, right):
    height, width = size_hw
    top, left = bottom * (height - 50), right * (width - 50)
    probability = np.zeros(size_hw, dtype=np.float32)
    probability[top + 30 * bottom :, left + 30 * right :][:20, :20] = 0.9
    assert not is_cut_off(probability, RegionOfInterest(top, top + 49, left, left + 49))


def test_windows_halve_around_the_click_down_to_the_smallest_that_is_looked_at():
    zoom, pixel = RepeatedZoomIn((336, 336)), np.array([700, 30])
    whole = RegionOfInterest.whole((1000, 1600))
    windows = zoom.closer_windows(pixel, whole, (1000, 1600))
    assert [max(window.size_hw) for window in windows] == [800, 400, 200, 100, 50]
    assert all(window.holds(pixel[None]) and whole.covers(window) for window in windows)
    assert windows[0].size_hw == (800, 800), "shifted into the image"


@pytest.mark.parametrize(
    ("object_side", "largest"), [(1, 50), (12, 50), (20, 100), (25, 100), (26, 200), (900, 1600)]
)
def test_windows_that_are_larger_than_objects_need_are_left_out(object_side, largest):
    zoom, whole = RepeatedZoomIn((336, 336)), RegionOfInterest.whole((1600, 1600))
    windows = [whole, *zoom.closer_windows(np.array([800, 800]), whole, (1600, 1600))]
    sides = [max(window.size_hw) for window in windows]
    left = not_too_large(windows, object_side)
    assert [max(window.size_hw) for window in left] == sides[sides.index(largest) :]


def test_of_a_panorama_windows_are_as_large_as_their_longer_side():
    zoom, whole = RepeatedZoomIn((336, 336)), RegionOfInterest.whole((200, 1600))
    windows = [whole, *zoom.closer_windows(np.array([100, 800]), whole, (200, 1600))]
    assert not_too_large(windows, 100)[0].size_hw == (200, 400)


class Dazed(RednessNetwork):
    """Sees what is red, unless it is small: then it is a little sure of everything."""

    dazed = 0.2

    def fuse(self, features, click_maps, previous_mask):
        logits = super().fuse(features, click_maps, previous_mask)
        return logits if (logits > 0).sum() > 400 else 0 * logits + self.dazed


def scene(side):
    """A red square in the middle of a grey image."""
    image = np.full((1600, 1600, 3), 100, dtype=np.uint8)
    half = side // 2
    image[800 - half : 800 + half, 800 - half : 800 + half] = (255, 0, 0)
    return image


@pytest.mark.parametrize(("side", "passes"), [(20, 7), (40, 6), (600, 2)])
def test_a_small_object_is_looked_for_closer_and_a_large_one_is_not(side, passes):
    image, network = scene(side), Dazed()
    result = Predictor(network).segment(image, [Click(800, 800, True)])
    assert result.mask.sum() == pytest.approx(side**2, rel=0.15)
    assert network.passes == passes


class SeesAPart(RednessNetwork):
    """Is unsure of the whole, sure of a part that leaves the first window, and of any spot."""

    def fuse(self, features, click_maps, previous_mask):
        logits = super().fuse(features, click_maps, previous_mask)
        inside = {1: (0.1, 0.9), 2: (0.0, 0.6)}.get(self.passes, (0.4, 0.6))
        first, last = (int(share * logits.shape[-1]) for share in inside)
        sure = 0.3 if self.passes == 1 else 3.0
        logits[:] = -sure
        logits[..., first:last, first:last] = sure
        return logits


def test_what_a_window_shows_clearly_and_cuts_off_is_not_looked_for_closer_still():
    """Its parts may stand out as well: the tip of a banana."""
    network = SeesAPart()
    result = Predictor(network).segment(scene(600), [Click(800, 800, True)])
    assert result.region == RegionOfInterest.whole((1600, 1600))
    assert network.passes == 2


def test_where_nothing_stands_out_closer_either_the_first_answer_stays():
    image, network = scene(2), Dazed()
    result = Predictor(network).segment(image, [Click(800, 800, True)])
    assert result.region == RegionOfInterest.whole((1600, 1600))
    assert result.mask.all()


def test_only_what_a_first_click_says_is_looked_for():
    """A second click says more than where the object is."""
    image, network = scene(20), Dazed()
    predictor, clicks = Predictor(network), [Click(800, 800, True), Click(300, 300, False)]
    before = predictor.segment(image, clicks[:1])
    network.passes = 0
    predictor.segment(image, clicks, before)
    assert network.passes <= RepeatedZoomIn.looks


def test_what_a_click_on_a_given_mask_is_on_is_not_looked_for():
    mask = np.zeros((1600, 1600), dtype=bool)
    mask[100:1500, 100:1500] = True
    network, of_the_correction = Dazed(), 1
    Predictor(network).segment(scene(20), [Click(800, 800, True)], Segmentation.from_mask(mask))
    assert network.passes <= RepeatedZoomIn.looks + of_the_correction


def test_where_a_negative_first_click_is_nothing_is_looked_for():
    network = Dazed()
    Predictor(network).segment(scene(20), [Click(800, 800, False)])
    assert network.passes == 1


class Blind(Dazed):
    """Sees what is red, unless it is small: then nothing at all."""

    dazed = -1.0


def test_what_is_not_seen_at_all_is_looked_for_closer():
    """The dot that makes a mask obey its click is not what the network found."""
    result = Predictor(Blind()).segment(scene(8), [Click(800, 800, True)])
    assert result.mask.sum() == pytest.approx(8**2, rel=0.2)


@pytest.mark.parametrize(
    ("image", "click"),
    [
        pytest.param(scene(1280)[::16, ::16], Click(4, 4, True), id="beside what stands out"),
        pytest.param(scene(0), Click(800, 800, True), id="where nothing is"),
        pytest.param(scene(0)[:28, :28], Click(14, 14, True), id="in an image of one look"),
    ],
)
def test_a_first_click_is_obeyed_with_a_dot_of_the_size_of_what_was_looked_at(image, click):
    mask = Predictor(Blind()).segment(image, [click]).mask
    assert mask[int(click.y), int(click.x)]
    assert mask.sum() < 20


class Noting(RednessNetwork):
    """Sees a spot in the middle, each time as surely as it is told; notes if it is shown a mask."""

    def __init__(self, sure):
        super().__init__()
        self.sure = sure
        self.shown = []

    def fuse(self, features, click_maps, previous_mask):
        self.shown.append(bool(previous_mask.any()))
        logits = super().fuse(features, click_maps, previous_mask)
        sure = self.sure[min(self.passes, len(self.sure)) - 1]
        logits[:] = -abs(sure)
        logits[..., 100:124, 100:124] = sure
        return logits


@pytest.mark.parametrize(
    ("sure", "looks"),
    [
        pytest.param([1.2], 1, id="it stands out in the whole image"),
        pytest.param([-1.0], 6, id="nothing is seen, and the dot of its click is nothing, too"),
        pytest.param([0.2, 0.4, 0.3, 0.2, 0.5, 0.6], 6, id="it stands out nowhere"),
        pytest.param([0.2, 1.2, 1.6, 2.1, 2.8, 4.0], 6, id="more in every window"),
        pytest.param([0.2, 0.4, 1.2, 1.2, 2.1], 4, id="no more in the third window"),
        pytest.param([0.2, 1.2, 0.4, 2.1], 3, id="in the second window no more at all"),
    ],
)
def test_looks_come_closer_until_what_stands_out_does_not_so_more(sure, looks):
    network = Noting(sure)
    Predictor(network).segment(scene(0), [Click(800, 800, True)])
    assert network.shown[:looks] == [False] * looks, "each begins anew"
    assert all(network.shown[looks:])


class Glowing(Noting):
    """Sees a glow around the spot, too, in its second look, as far as the next one reaches."""

    def fuse(self, features, click_maps, previous_mask):
        logits = super().fuse(features, click_maps, previous_mask)
        if self.passes == 2:
            logits[..., 56:168, 56:168] = logits[..., 56:168, 56:168].clamp(min=-0.2)
        return logits


def test_a_look_that_shows_less_beside_the_spot_than_the_one_before_says_no_more_of_it():
    network = Glowing([0.2, 1.8, 1.4])
    Predictor(network).segment(scene(0), [Click(800, 800, True)])
    assert network.shown[:3] == [False] * 3
    assert all(network.shown[3:])


class Learned(Noting, Specialised):
    """The same of a network that has learned images with objects of so many pixels."""

    input_size = (224, 224)  # which of an ICMFormer is a property

    def __init__(self, sure, object_side):
        super().__init__(sure)
        self.config = replace(build_model("tiny").config, input_size=self.input_size)
        self.generalist = RednessNetwork()
        self.object_side = torch.tensor(float(object_side))

    def knows(self, features):
        return True


@pytest.mark.parametrize(
    ("object_side", "sure", "looks"),
    [
        pytest.param(900, [1.2], 1, id="so large that the whole image may show one"),
        pytest.param(20, [0.9], 2, id="it stands out, and no more in the next"),
        pytest.param(20, [0.2], 2, id="it stands out nowhere"),
        pytest.param(40, [1.0, 1.5, 2.1], 3, id="more in every window"),
    ],
)
def test_where_the_size_of_objects_is_known_looks_begin_there(object_side, sure, looks):
    network = Learned(sure, object_side)
    Predictor(network).segment(scene(0), [Click(800, 800, True)])
    assert network.shown[:looks] == [False] * looks
    assert all(network.shown[looks:])


class Filled(Learned):
    """Sees an object that fills some of the view; notes how much red it was shown."""

    def __init__(self, side):
        super().__init__([2.0], 20)
        self.side = side
        self.red = []

    def encode_image(self, image):
        self.red.append(float((image[:, 0] > image[:, 1] + 0.5).float().mean()))
        return super().encode_image(image)

    def fuse(self, features, click_maps, previous_mask):
        logits = super().fuse(features, click_maps, previous_mask)
        low = 112 - self.side // 2
        logits[..., low : low + self.side, low : low + self.side] = 2.0
        return logits


@pytest.mark.parametrize(("side", "begins_anew"), [(100, False), (124, True)])
def test_what_is_much_larger_than_the_known_objects_is_looked_for_as_if_none_were(
    side, begins_anew
):
    network = Filled(side)
    Predictor(network).segment(scene(200), [Click(800, 800, True)])
    whole, window, *further = network.red  # the whole image tells whether it is known
    assert whole < 0.1
    assert window > 0.9
    assert (not further) == begins_anew, "the features of the whole image are there"


def test_a_first_click_means_the_part_that_it_is_on_and_a_second_one_may_say_more():
    image = scene(200)
    image[700:900, 1000:1200] = (255, 0, 0)
    predictor = Predictor(RednessNetwork())
    first = predictor.segment(image, [Click(800, 800, True)])
    assert first.mask[750:850, 750:850].all()
    assert not first.mask[:, 960:].any()
    second = predictor.segment(image, [*first.clicks, Click(1100, 800, True)], first)
    assert second.mask[750:850, 750:850].all()
    assert second.mask[750:850, 1050:1150].all()
