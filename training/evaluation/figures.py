"""Plots as SVG text: for reports, which are HTML pages, and for files of their own."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from training.evaluation.bootstrap import interval_over_images
from training.evaluation.noc import ScoreCard

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MARKERS = "os^DvX*P"
_MOST_NAMES_INSIDE = 6
_NAME_HEIGHT = 0.21  # inches
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "icmformer",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}


def iou_curves(title: str, cards: Mapping[str, ScoreCard], marked: Sequence[float]) -> str:
    """Plot the mean IoU after each click (figures 4 and 7), with a 95 % band around it.

    Args:
        title: name of the data set.
        cards: one curve each, by name.
        marked: IoUs to which clicks are counted, in [0, 1]; a dashed line each.

    Returns:
        An <svg> element.
    """
    with matplotlib.rc_context(_STYLE):
        # Few names fit beside the curves; more stand in a line each below the plot.
        rows = len(cards) if len(cards) > _MOST_NAMES_INSIDE else 0
        figure = Figure(figsize=(5.2, 3.6 + _NAME_HEIGHT * rows), layout="constrained")
        axes = figure.add_subplot()
        curves = [
            _draw_curve(axes, card, *_look(number)) for number, card in enumerate(cards.values())
        ]
        for threshold in marked:
            axes.axhline(threshold, color="#888888", linewidth=0.8, linestyle="--", zorder=1)
        axes.set(xlabel="clicks", ylabel="mean IoU, 95 % band")
        axes.set_title(title, fontweight="bold", parse_math=False)
        axes.set_xlim(0.5, None)
        clicks = max(card.max_clicks for card in cards.values())
        ticks = MaxNLocator(integer=True).tick_values(0, clicks)
        axes.set_xticks(np.unique(np.clip(ticks, 1, clicks)))
        axes.grid(axis="y", color="#eeeeee", zorder=-1)
        _as_written(
            figure.legend(curves, list(cards), frameon=False, loc="outside lower center")
            if rows
            else axes.legend(curves, list(cards), frameon=False, loc="best")
        )
        return _svg(figure)


def line_chart(
    title: str, across: str, up: str, lines: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
    """Plot lines through points.

    Args:
        title: of the plot.
        across: what the horizontal axis shows.
        up: what the vertical axis shows.
        lines: (x, y) of each point, by name.

    Returns:
        An <svg> element.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        looks = [_look(number) for number in range(len(lines))]
        drawn = [
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker)[0]
            for points, (colour, marker) in zip(lines.values(), looks, strict=True)
        ]
        axes.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set(xlabel=across, ylabel=up)
        axes.set_title(title, parse_math=False)
        axes.grid(axis="y", color="#eeeeee", zorder=-1)
        _as_written(figure.legend(drawn, list(lines), frameon=False, loc="outside right center"))
        return _svg(figure)


def curve_band(card: ScoreCard) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % band around `ScoreCard.mean_ious`, two times (max_clicks,)."""
    return interval_over_images(card.curves(), [sample.name for sample in card.samples], (0, 1))


def _draw_curve(axes: Axes, card: ScoreCard, colour: str, marker: str) -> Line2D:
    clicks = np.arange(1, card.max_clicks + 1)
    low, high = curve_band(card)
    axes.fill_between(clicks, low, high, color=colour, alpha=0.12, linewidth=0)
    (curve,) = axes.plot(clicks, card.mean_ious(), color=colour, marker=marker, markersize=4)
    return curve


def _as_written(legend: Legend) -> None:
    """Take names for what they are: two dollar signs in a file's name mean no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _look(number: int) -> tuple[str, str]:
    """Return colour and marker of a line, which are both other than the last one's.

    In grey the markers tell lines apart. There are 7 colours and 8 markers, so 56 looks.
    """
    return COLOURS[number % len(COLOURS)], _MARKERS[number % len(_MARKERS)]


def _svg(figure: Figure) -> str:
    """Return the figure on white: it may be shown alone, whatever is behind it."""
    buffer = io.StringIO()
    # Without a date the same numbers give the same file.
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
