import numpy as np
import pytest

from icmformer.clicks import from_row_column
from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import RegionOfInterest
from icmformer.zoom_in import WholeImage, ZoomIn
from tests import golden_loops


def _clicks(image_hw, *rows_columns_signs):
    clicks = [from_row_column(*each) for each in rows_columns_signs]
    return PlacedClicks.on_image(clicks, image_hw)


def _probability(image_hw, rows, columns):
    probability = np.zeros(image_hw, dtype=np.float32)
    probability[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 0.7
    return probability


SMALL = ((300, 420), (120, 149), (200, 299))


@pytest.mark.parametrize(
    ("name", "where", "clicks"),
    [
        ("basic", SMALL, []),
        ("with_pos_click", SMALL, [(20, 30, True), (290, 400, False)]),
        ("large", ((1000, 1200), (100, 599), (200, 899)), []),
        ("one_pixel", ((1000, 1200), (500, 500), (600, 600)), []),
    ],
)
def test_golden_regions(name, where, clicks):
    probability = _probability(*where)
    placed = _clicks(probability.shape, *clicks)
    region = ZoomIn((448, 448)).region(probability, placed, None)
    assert region == RegionOfInterest(*golden_loops.load("roi")[name])


NOTHING = np.zeros((300, 420), dtype=np.float32)
WHOLE = RegionOfInterest(0, 299, 0, 419)


def test_first_click_sees_the_whole_image():
    click = _clicks((300, 420), (5, 5, True))
    assert ZoomIn((448, 448)).region(NOTHING, click, None) == WHOLE
    assert ZoomIn(400, skip_clicks=0).region(NOTHING, click, None) is None
    assert WholeImage().region(NOTHING, click, None) is None


def test_skips_the_zoom_for_the_first_clicks():
    zoom, probability = ZoomIn(400, skip_clicks=1), _probability(*SMALL)
    assert zoom.region(probability, _clicks((300, 420), (130, 250, True)), None) is None
    two = _clicks((300, 420), (130, 250, True), (135, 260, True))
    assert zoom.region(probability, two, None) == RegionOfInterest(34, 234, 150, 350)


def test_keeps_a_region_that_overlaps_enough():
    zoom, click = ZoomIn((448, 448)), _clicks((300, 420), (130, 250, True))
    current = RegionOfInterest(34, 234, 150, 350)
    nearby = _probability((300, 420), (140, 169), (220, 319))
    assert zoom.region(nearby, click, current) is current
    elsewhere = _probability((300, 420), (0, 290), (0, 400))
    assert zoom.region(elsewhere, click, current) == WHOLE


@pytest.mark.parametrize(
    ("row", "column", "kept"),
    [(34, 150, True), (233, 349, True), (33, 200, False), (234, 200, False), (100, 350, False)],
)
def test_positive_click_outside_replaces_the_region(row, column, kept):
    """The last row and column count as outside, as published."""
    current = RegionOfInterest(34, 234, 150, 350)
    click = _clicks((300, 420), (row, column, True))
    region = ZoomIn((448, 448)).region(_probability(*SMALL), click, current)
    assert (region is current) == kept


def test_negative_clicks_do_not_move_the_region():
    current = RegionOfInterest(34, 234, 150, 350)
    click = _clicks((300, 420), (0, 0, False))
    assert ZoomIn((448, 448)).region(_probability(*SMALL), click, current) is current


def test_looks_again_only_at_a_small_object_and_only_without_skipping():
    click = _clicks((300, 420), (130, 250, True))
    small, large = _probability(*SMALL), _probability((300, 420), (20, 280), (20, 400))
    zoom = ZoomIn(200, skip_clicks=0)
    region = RegionOfInterest(34, 234, 150, 350)
    assert zoom.look_again(small, click, None) == region
    assert zoom.look_again(large, click, None) is None
    assert zoom.look_again(NOTHING, click, None) is None
    assert zoom.look_again(small, click, region) is None
    for other in (ZoomIn((200, 200)), ZoomIn(200, skip_clicks=1), WholeImage()):
        assert other.look_again(small, click, None) is None


@pytest.mark.parametrize(
    ("zoom", "region", "expected"),
    [
        (ZoomIn((448, 672)), WHOLE, (448, 672)),
        (ZoomIn(400), WHOLE, (286, 400)),
        (ZoomIn(400), RegionOfInterest(5, 5, 0, 299), (1, 400)),
        (ZoomIn(400, skip_clicks=1), None, (300, 420)),
        (WholeImage(), None, (300, 420)),
        (WholeImage(longest_side=200), None, (143, 200)),
        (WholeImage(longest_side=420), None, (300, 420)),
    ],
)
def test_network_size(zoom, region, expected):
    assert zoom.network_size(region, (300, 420)) == expected
