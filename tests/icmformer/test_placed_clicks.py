import numpy as np
import pytest

from icmformer.clicks import Click
from icmformer.placed_clicks import PlacedClicks


@pytest.mark.parametrize(
    ("x", "y", "pixel"),
    [
        (0.0, 0.0, (0, 0)),
        (0.99, 1.0, (1, 0)),
        (1.0, 2.0, (2, 1)),
        (49.99, 39.99, (39, 49)),
        (50.0, 40.0, (39, 49)),
        (50.9, 40.9, (39, 49)),
        (-0.9, -0.9, (0, 0)),
    ],
)
def test_a_pixel_reaches_from_its_own_border_to_the_next_ones(x, y, pixel):
    clicks = PlacedClicks.on_image([Click(x, y, True)], (40, 50))
    np.testing.assert_array_equal(clicks.pixels, [pixel])
    assert (clicks.rows_columns >= -0.5).all()
    assert (clicks.rows_columns <= [39.5, 49.5]).all()
