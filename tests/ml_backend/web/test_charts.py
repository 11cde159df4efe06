import re
from datetime import UTC, datetime, timedelta

import pytest

from ml_backend.web.charts import clicks_bar, growth_chart, lineage_mark


def test_growth_climbs_in_steps_and_goes_on_until_today():
    growth = [("2026-11-01T08:00:00Z", 4), ("2026-11-05T09:30:00Z", 10)]
    chart = growth_chart(growth, datetime(2026, 11, 9, tzinfo=UTC))
    points = re.search(r'polyline class="line" points="([^"]+)"', chart)[1].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights, reverse=True)
    assert len(points) == 6
    assert ">10</text>" in chart
    assert "2026-11-09" in chart


def test_growth_of_a_single_minute():
    moment = datetime(2026, 11, 1, 8, tzinfo=UTC)
    chart = growth_chart([("2026-11-01T08:00:00Z", 4)], moment)
    assert "2026-11-01 07:50 UTC" in chart
    assert "2026-11-01 08:00 UTC" in chart  # nothing is shown of a time that has not come yet


def test_years_of_labelling_fit_into_a_chart():
    start = datetime(2024, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(hours=hour) for hour in range(20_000)]
    growth = [(moment.isoformat(), number) for number, moment in enumerate(moments, start=1)]
    chart = growth_chart(growth, moments[-1])
    assert len(chart) < 100_000
    last = re.search(r'polyline class="line" points="([^"]+)"', chart)[1].split()[-1]
    assert last == "628.0,18.0"


@pytest.mark.parametrize(("most", "name"), [(1, "1 sample"), (2, "2 samples")])
def test_a_chart_says_aloud_how_many_samples_there_are(most, name):
    chart = growth_chart([("2026-11-01T08:00:00Z", most)], datetime(2026, 11, 9, tzinfo=UTC))
    assert f'aria-label="{name}"' in chart


@pytest.mark.parametrize("most", [9, 1300, 120_000])
def test_no_digit_of_the_largest_number_is_cut_off(most):
    chart = growth_chart([("2026-11-01T08:00:00Z", most)], datetime(2026, 11, 9, tzinfo=UTC))
    end, anchor = re.search(rf'<text x="(\d+)" [^>]* text-anchor="(\w+)">{most}<', chart).groups()
    assert anchor == "end"
    # 22 px high on a phone, a digit is at most 14 px wide
    assert int(end) >= 14 * len(str(most))


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
