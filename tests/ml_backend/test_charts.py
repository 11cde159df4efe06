import re
from datetime import date

import pytest

from ml_backend.charts import clicks_bar, growth_chart, lineage_mark


def test_growth_climbs_in_steps_and_goes_on_until_today():
    chart = growth_chart([("2026-11-01", 4), ("2026-11-05", 10)], date(2026, 11, 9))
    points = re.search(r'polyline class="line" points="([^"]+)"', chart)[1].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights, reverse=True)
    assert len(points) == 6
    assert ">10</text>" in chart
    assert "2026-11-09" in chart


def test_growth_of_a_single_day():
    assert "<svg" in growth_chart([("2026-11-01", 4)], date(2026, 11, 1))


@pytest.mark.parametrize(
    ("clicks", "width"), [(0, "0.0"), (10, "60.0"), (20, "120.0"), (99, "120.0")]
)
def test_bars_are_as_long_as_their_clicks(clicks, width):
    assert f'width="{width}"' in clicks_bar(clicks, 20, "live")


@pytest.mark.parametrize(
    ("on_line", "above", "below", "lines"),
    [
        (True, False, False, 0),
        (True, True, True, 2),
        (False, False, True, 1),
        (False, True, True, 3),
        (True, True, False, 1),
    ],
)
def test_the_line_of_descent_goes_through_every_row(on_line, above, below, lines):
    mark = lineage_mark(on_line, above, below, live=True)
    assert mark.count("<line") == lines
    assert mark.count("<circle") == 1
