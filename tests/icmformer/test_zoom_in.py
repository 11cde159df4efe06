import numpy as np
import pytest

from icmformer.clicks import from_row_column
from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import RegionOfInterest
from icmformer.zoom_in import ZoomIn
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
