"""The learning curve as a table, a plot and a JSON file, with where the numbers come from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.atomic_files import write_atomically
from training.evaluation.figures import line_chart
from training.evaluation.noc import Interval, ScoreCard
from training.evaluation.text_table import markdown_table
from training.fine_tuning.promotion import Comparison, compare
from training.object_names import image_of
from training.written_numbers import counted, signed

# Small and blurred objects are outlined differently by every annotator: there 85 % IoU asks for
# more agreement than they have among themselves, and 75 % tells more.
THRESHOLDS = (0.75, 0.85)
_LEGEND = (
    "Mean clicks; in brackets how much that is changed, and the clicks saved per object, with "
    "their 95 % interval over images."
)


@dataclass(frozen=True)
class Point:
    """One version on the curve: how many masks had been accepted, and its score cards by test."""

    masks: int
    cards: dict[str, ScoreCard]


def write_learning_curve(
    points: Sequence[Point], domain: str, origin: dict[str, str], folder: Path
) -> None:
    """Write `learning_curve.md`, `.json` and `.svg`.

    Args:
        points: in any order; that of 0 masks is the version that all others were made from.
        domain: name of the data set.
        origin: command, commit, hardware and so on.
        folder: must exist.
    """
    points = sorted(points, key=lambda point: point.masks)
    certificate = "\n".join(f"{name}: {value}" for name, value in origin.items())
    tables = [
        f"## Clicks to an IoU of {threshold:.0%}\n\n{_table(points, threshold)}"
        for threshold in THRESHOLDS
    ]
    clicked = "; ".join(f"{test}: {what}" for test, what in _clicked(points[0]).items())
    text = "\n".join(
        [f"# {domain}\n", f"{clicked}. {_LEGEND}\n", *tables, f"```\n{certificate}\n```\n"]
    )
    write_atomically(folder / "learning_curve.md", text.encode())
    numbers = {
        "domain": domain,
        "origin": origin,
        "masks": [point.masks for point in points],
        "clicked": _clicked(points[0]),
        "clicks": {f"{threshold:g}": _numbers(points, threshold) for threshold in THRESHOLDS},
    }
    write_atomically(folder / "learning_curve.json", json.dumps(numbers, indent=1).encode())
    lines = {
        f"{test}, to {threshold:.0%}": [
            (point.masks, 100 * -_saved(points[0], point, test, threshold).mean
             / points[0].cards[test].noc(threshold))
            for point in points
        ]
        for threshold in THRESHOLDS
        for test in points[0].cards
    }  # fmt: skip
    plot = line_chart(f"{domain}: clicks after fine-tuning", "accepted masks", "change, %", lines)
    write_atomically(folder / "learning_curve.svg", plot.encode())


def _numbers(points: Sequence[Point], threshold: float) -> dict[str, dict[str, list[Any]]]:
    return {
        test: {
            "mean": [point.cards[test].noc(threshold) for point in points],
            "saved": [vars(_saved(points[0], point, test, threshold)) for point in points],
        }
        for test in points[0].cards
    }


def _clicked(point: Point) -> dict[str, str]:
    """Return what a test's clicks are the mean of, in words."""
    clicked = {}
    for test, card in point.cards.items():
        names = [sample.name for sample in card.samples]
        objects = counted(len(set(names)), "object")
        images = counted(len(set(map(image_of, names))), "image")
        annotators = counted(len(names) // len(set(names)), "annotator")
        clicked[test] = f"{objects} of {images}, each clicked by {annotators}"
    return clicked


def _table(points: Sequence[Point], threshold: float) -> str:
    tests = list(points[0].cards)
    rows = [
        [str(point.masks), *(_cell(points[0], point, test, threshold) for test in tests)]
        for point in points
    ]
    return markdown_table([["masks", *tests], *rows])


def _cell(base: Point, point: Point, test: str, threshold: float) -> str:
    clicks = point.cards[test].noc(threshold)
    if point.masks == 0:
        return f"{clicks:.2f}"
    saved = _saved(base, point, test, threshold)
    share = -saved.mean / base.cards[test].noc(threshold)
    interval = f"{signed(saved.low)} to {signed(saved.high)}"
    return f"{clicks:.2f} ({signed(share, '+.1%')}; saved {interval})"


def _saved(base: Point, point: Point, test: str, threshold: float) -> Interval:
    return compare(Comparison(base.cards[test], point.cards[test]), threshold).saved
