import numpy as np
import pytest

from icmformer.clicks import Click, from_row_column
from icmformer.placed_clicks import PlacedClicks
from icmformer.predictor import Predictor
from icmformer.region_of_interest import RegionOfInterest
from icmformer.repeated_zoom_in import RepeatedZoomIn
from icmformer.segmentation import Segmentation
from tests.icmformer.redness_network import RednessNetwork, Shown

LOOK = RepeatedZoomIn((448, 448))


def _scene(image_hw, rows, columns):
    """A red box on grey: image and target."""
    image = np.full((*image_hw, 3), 100, dtype=np.uint8)
    target = np.zeros(image_hw, dtype=np.int8)
    image[slice(*rows), slice(*columns)] = (255, 0, 0)
    target[slice(*rows), slice(*columns)] = 1
    return image, target


def _iou(target, mask):
    return np.count_nonzero(mask & (target == 1)) / np.count_nonzero(mask | (target == 1))


def _middle_click(rows, columns):
    return Click(x=sum(columns) / 2, y=sum(rows) / 2, positive=True)


@pytest.mark.parametrize(
    ("image_hw", "rows", "columns"),
    [
        pytest.param((1500, 2000), (1100, 1105), (300, 305), id="tiny"),
        pytest.param((1500, 2000), (3, 9), (1990, 1998), id="tiny in a corner"),
        pytest.param((1000, 1000), (200, 800), (500, 503), id="thin"),
        pytest.param((1000, 1000), (500, 502), (150, 850), id="thin across"),
        pytest.param((120, 6000), (30, 90), (5000, 5060), id="panorama"),
        pytest.param((6000, 40), (200, 230), (10, 30), id="tower"),
        pytest.param((400, 500), (50, 350), (100, 420), id="large"),
        pytest.param((20, 30), (5, 12), (8, 20), id="image smaller than the network"),
    ],
)
def test_one_click_is_enough(image_hw, rows, columns):
    image, target = _scene(image_hw, rows, columns)
    network = RednessNetwork()
    result = Predictor(network).segment(image, [_middle_click(rows, columns)])
    assert _iou(target, result.mask) > 0.8
    assert network.passes <= 7, "three, and one for each window until it is seen no clearer"


@pytest.mark.parametrize("image_hw", [(120, 361), (361, 120)])
def test_of_a_panorama_nothing_is_encoded_in_vain(image_hw):
    image, _ = _scene(image_hw, (30, 90), (30, 90))
    network, clicks = RednessNetwork(), [_middle_click((30, 90), (30, 90))]
    predictor = Predictor(network)
    start = predictor.encode(image)
    assert start.features is None
    shared, fresh = predictor.segment(image, clicks, start), predictor.segment(image, clicks)
    np.testing.assert_array_equal(shared.probability, fresh.probability)


@pytest.mark.parametrize("click", [Click(0, 0, True), Click(359, 60, True), Click(9, 9, False)])
def test_on_any_other_image_the_first_look_is_at_the_whole(click):
    assert LOOK.begins_with_whole((120, 360))
    placed = PlacedClicks.on_image([click], (120, 360))
    first = LOOK.region(np.zeros((120, 360), np.float32), placed, None)
    assert first == RegionOfInterest.whole((120, 360))


def test_published_protocol_does_not_see_the_tiny_object():
    """What zooming in repeatedly is for."""
    rows, columns = (1100, 1105), (300, 305)
    image, target = _scene((1500, 2000), rows, columns)
    click = _middle_click(rows, columns)
    published = Predictor.for_benchmark(RednessNetwork()).segment(image, [click])
    assert _iou(target, published.mask) < 0.5


def test_large_object_costs_one_pass():
    network = RednessNetwork()
    image, _ = _scene((400, 500), (20, 390), (30, 480))
    Predictor(network).segment(image, [Click(250, 200, True)])
    assert network.passes == 1


def test_looks_closer_where_nothing_was_found():
    nothing = np.zeros((1600, 2400), dtype=np.float32)
    whole = RegionOfInterest.whole(nothing.shape)
    clicks = PlacedClicks.on_image([Click(600, 400, True), Click(0, 0, False)], nothing.shape)
    quarter = LOOK.look_again(nothing, clicks, whole)
    assert quarter.size_hw == (400, 600)
    assert quarter == RegionOfInterest(200, 599, 300, 899)
    sixteenth = LOOK.look_again(nothing, clicks, quarter)
    assert sixteenth.size_hw == (100, 150)
    closest = LOOK.look_again(nothing, clicks, sixteenth)
    assert closest.size_hw == (56, 56), "not smaller than an eighth of the network's input"
    assert LOOK.look_again(nothing, clicks, closest) is None


def test_moves_in_at_once_on_an_object_that_the_next_click_would_move_in_on():
    whole = RegionOfInterest.whole((1000, 1000))
    clicks = PlacedClicks.on_image([Click(500, 500, True)], (1000, 1000))
    for side, moves in ((560, False), (440, True), (300, True)):
        probability = np.zeros((1000, 1000), dtype=np.float32)
        probability[500 - side // 2 : 500 + side // 2, 500 - side // 2 : 500 + side // 2] = 0.9
        assert (LOOK.look_again(probability, clicks, whole) is not None) == moves


def test_a_closer_look_starts_from_what_the_look_before_it_found():
    rows, columns = (1000, 1040), (300, 340)
    image, _ = _scene((1500, 2000), rows, columns)
    network = Shown()
    Predictor(network).segment(image, [_middle_click(rows, columns)])
    first, *closer = network.masks
    assert closer
    assert not first.any()
    assert all((mask > 0.5).any() for mask in closer)


def test_what_is_too_small_to_be_a_part_is_not_served():
    image, _ = _scene((400, 500), (50, 350), (100, 420))
    image[380:383, 480:483] = (255, 0, 0)
    click = _middle_click((50, 350), (100, 420))
    served = Predictor(RednessNetwork()).segment(image, [click]).mask
    assert served[200, 250]
    assert not served[375:, 470:].any()
    published = Predictor.for_benchmark(RednessNetwork()).segment(image, [click]).mask
    assert published[375:, 470:].any()


@pytest.mark.parametrize("size", [(400, 400), (400, 200), (200, 400)])
def test_the_closest_window_is_an_eighth_of_the_longer_side_of_the_input(size):
    whole = RegionOfInterest.whole((1600, 1600))
    windows = RepeatedZoomIn(size).closer_windows(np.array([800, 800]), whole, (1600, 1600))
    assert [window.size_hw for window in windows] == [(n, n) for n in (800, 400, 200, 100, 50)]


def test_only_negative_clicks_leave_the_view_alone():
    nothing = np.zeros((300, 400), dtype=np.float32)
    clicks = PlacedClicks.on_image([Click(5, 5, False)], (300, 400))
    whole = RegionOfInterest.whole((300, 400))
    assert LOOK.region(nothing, clicks, None) == whole
    assert LOOK.look_again(nothing, clicks, whole) is None


@pytest.mark.parametrize(
    ("rows", "columns", "cut_off"),
    [
        ((180, 420), (230, 570), False),
        ((100, 420), (230, 570), True),
        ((180, 499), (230, 570), True),
        ((180, 420), (200, 570), True),
        ((180, 420), (230, 599), True),
    ],
)
def test_mask_at_the_border_of_its_region_asks_for_a_larger_one(rows, columns, cut_off):
    probability = np.zeros((1000, 1000), dtype=np.float32)
    probability[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 0.9
    clicks = PlacedClicks.on_image([Click(350, 300, True)], (1000, 1000))
    current = RegionOfInterest(100, 499, 200, 599)
    larger = LOOK.look_again(probability, clicks, current)
    assert (larger is not None) == cut_off
    if larger:
        assert larger.covers(RegionOfInterest(rows[0] - 1, rows[1], columns[0] - 1, columns[1]))


def test_mask_at_the_border_of_the_image_is_complete():
    probability = np.zeros((300, 400), dtype=np.float32)
    probability[:250, :300] = 0.9
    clicks = PlacedClicks.on_image([Click(50, 50, True)], (300, 400))
    assert LOOK.look_again(probability, clicks, RegionOfInterest.whole((300, 400))) is None


def test_positive_click_outside_widens_the_view():
    probability = np.zeros((900, 900), dtype=np.float32)
    probability[100:200, 100:200] = 0.9
    clicks = PlacedClicks.on_image([Click(150, 150, True), Click(700, 650, True)], (900, 900))
    region = LOOK.region(probability, clicks, RegionOfInterest(50, 249, 50, 249))
    assert region.covers(RegionOfInterest(100, 650, 100, 700))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (17, 3), (3000, 40), (500, 700)])
def test_regions_lie_inside_the_image_and_are_not_longer_than_they_must(size):
    rng = np.random.default_rng(0)
    region = None
    for _ in range(50):
        probability = np.zeros(size, dtype=np.float32)
        row, column = rng.integers(0, size)
        probability[row : row + rng.integers(1, 60), column : column + rng.integers(1, 60)] = 0.8
        places = zip(rng.integers(0, size, (3, 2)).tolist(), (True, False, True), strict=True)
        clicks = [from_row_column(*place, positive) for place, positive in places]
        placed = PlacedClicks.on_image(clicks, size)
        region = LOOK.region(probability, placed, region)
        assert RegionOfInterest.whole(size).covers(region)
        height, width = region.size_hw
        assert height >= min(size[0], width / 3 - 1)
        assert width >= min(size[1], height / 3 - 1)


def test_replay_gives_the_same_bits():
    image, _ = _scene((700, 900), (300, 330), (200, 420))
    predictor = Predictor(RednessNetwork(), precision="fp32")
    clicks = [Click(300, 315, True), Click(310, 350, False), Click(600, 100, True)]
    step = None
    for count in range(1, 4):
        step = predictor.segment(image, clicks[:count], step)
    replayed = predictor.segment(image, clicks)
    np.testing.assert_array_equal(step.probability, replayed.probability)
    assert step.region == replayed.region


def test_existing_mask_is_seen_with_its_surroundings():
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[400:500, 300:450] = True
    image, _ = _scene((1000, 1000), (400, 500), (300, 450))
    predictor = Predictor(RednessNetwork())
    clicks = [Click(460, 450, False)]
    result = predictor.segment(image, clicks, Segmentation.from_mask(mask))
    assert result.region == RegionOfInterest(380, 519, 270, 479)
    first = LOOK.region(mask.astype(np.float32), PlacedClicks.on_image(clicks, mask.shape), None)
    assert first == result.region, "at once"


def test_where_a_mask_is_cut_off_the_region_grows_by_half_of_its_own():
    probability = np.zeros((1000, 1000), dtype=np.float32)
    probability[180:500, 230:571] = 0.9
    clicks = PlacedClicks.on_image([Click(350, 300, True)], (1000, 1000))
    larger = LOOK.look_again(probability, clicks, RegionOfInterest(100, 499, 200, 599))
    # Rows 180 to 499 + 200, that is 520, and columns 230 to 570, that is 341; 1.4 times of both.
    assert larger.size_hw == (728, 478)
    assert abs(larger.row_min + larger.row_max - (180 + 699)) <= 1


@pytest.mark.parametrize(
    ("rows", "columns", "twice_middle"),
    [
        ((300, 399), (500, 599), (200 + 399, 500 + 599)),
        ((400, 499), (500, 599), (400 + 599, 500 + 599)),
        ((350, 449), (400, 599), (350 + 449, 200 + 599)),
        ((350, 449), (500, 799), (350 + 449, 500 + 999)),
    ],
    ids=["above", "below", "on the left", "on the right"],
)
def test_it_grows_by_half_of_the_region_to_the_side_where_the_mask_is_cut_off(
    rows, columns, twice_middle
):
    region = RegionOfInterest(300, 499, 400, 799)
    probability = np.zeros((2000, 2000), dtype=np.float32)
    probability[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 0.9
    clicks = PlacedClicks.on_image([Click(550, 400, True)], (2000, 2000))
    larger = LOOK.look_again(probability, clicks, region)
    middle = (larger.row_min + larger.row_max, larger.column_min + larger.column_max)
    assert np.abs(np.subtract(middle, twice_middle)).max() <= 1


def test_a_first_click_beside_an_existing_mask_is_seen_with_it():
    mask = np.zeros((1000, 1000), dtype=np.float32)
    mask[400:500, 300:450] = 1
    clicks = PlacedClicks.on_image([Click(800, 450, True)], (1000, 1000))
    assert LOOK.region(mask, clicks, None).covers(RegionOfInterest(400, 499, 300, 800))
