"""Small charts as SVG elements that stand in a page; colours come from its style sheet."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from training.moments import moment_of
from training.written_numbers import counted

_WIDTH, _HEIGHT = 640, 150
_RIGHT, _TOP, _BOTTOM = 12, 18, 24
_LEAST_LEFT, _DIGIT = 44, 14  # a digit of the largest letters, those for phones
_LEAST_STRETCH = timedelta(minutes=10)


def growth_chart(growth: Sequence[tuple[str, int]], now: datetime) -> Markup:
    """Draw how the number of samples grew.

    Args:
        growth: (ISO moment, samples accepted up to then), in order, at least one.
        now: where the chart ends.
    """
    moments = [moment_of(moment) for moment, _ in growth]
    last = max(now, moments[-1])
    first = min(moments[0], last - _LEAST_STRETCH)
    most = growth[-1][1]
    left = max(_LEAST_LEFT, 6 + _DIGIT * len(str(most)))

    def x(moment: datetime) -> float:
        return left + (moment - first) / (last - first) * (_WIDTH - left - _RIGHT)

    def y(count: int) -> float:
        return _HEIGHT - _BOTTOM - count / most * (_HEIGHT - _TOP - _BOTTOM)

    # Years of labelling have more minutes than the chart has room for.
    steps = {
        round(2 * x(moment)): (x(moment), y(count))
        for moment, (_, count) in zip(moments, growth, strict=True)
    }
    points = [(x(first), y(0))]
    for step in steps.values():
        points += [(step[0], points[-1][1]), step]
    points.append((x(last), points[-1][1]))
    line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    area = f"{line} {x(last):.1f},{y(0):.1f}"
    written = "%Y-%m-%d" if last - first > timedelta(days=2) else "%Y-%m-%d %H:%M UTC"
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{counted(most, "sample")}">'
        f'<polygon class="area" points="{area}"/><polyline class="line" points="{line}"/>'
        f'<line class="axis" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
        f'<text x="{left - 6}" y="{y(most) + 4:.1f}" text-anchor="end">{most}</text>'
        f'<text x="{left - 6}" y="{y(0):.1f}" text-anchor="end">0</text>'
        f'<text x="{left}" y="{_HEIGHT - 6}">{first.strftime(written)}</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">'
        f"{last.strftime(written)}</text></svg>"
    )


def clicks_bar(clicks: float, most: float, kind: str) -> Markup:
    """Draw a number of clicks as a bar.

    Args:
        clicks: how many.
        most: clicks of the full width.
        kind: class of the bar: "live" or "candidate".
    """
    width = 120 * min(clicks / most, 1.0)
    return Markup(
        '<svg class="bar" aria-hidden="true" viewBox="0 0 120 8">'
        '<rect class="{}" width="{}" height="8"/></svg>'
    ).format(kind, f"{width:.1f}")


def lineage_mark(on_line: bool, above: bool, below: bool, live: bool) -> Markup:
    """Draw one row of the line of descent, as high as the row.

    Args:
        on_line: whether the version is live or what the live one descends from; others branch off.
        above: whether there is a newer version.
        below: whether there is an older one.
        live: whether it is live.
    """
    parts = []
    if above:
        parts.append('<line x1="14" x2="14" y1="0" y2="50%"/>')
    if below and (on_line or above):
        parts.append('<line x1="14" x2="14" y1="50%" y2="100%"/>')
    if below and not on_line:
        parts.append('<line x1="38" x2="14" y1="50%" y2="100%"/>')
    kind = "node live" if live else "node"
    parts.append(f'<circle class="{kind}" cx="{14 if on_line else 38}" cy="50%" r="7"/>')
    return Markup(f'<svg class="lineage" aria-hidden="true">{"".join(parts)}</svg>')
