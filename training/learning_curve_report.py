"""The learning curve as a table, a plot and a JSON file, with where the numbers come from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.figures import line_chart
from training.noc import Interval, ScoreCard
from training.promotion import Comparison, Policy, compare
from training.stored_files import write_atomically

_POLICY = Policy()
THRESHOLD = _POLICY.threshold


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
        points: the first one is the version that all others were made from.
        domain: name of the data set.
        origin: command, commit, hardware and so on.
        folder: must exist.
    """
    tests = list(points[0].cards)
    changes = {test: [_change(points[0], point, test) for point in points] for test in tests}
    table = _table(points, changes)
    certificate = "\n".join(f"{name}: {value}" for name, value in origin.items())
    text = f"# {domain}\n\nClicks to an IoU of 85 %.\n\n{table}\n\n```\n{certificate}\n```\n"
    write_atomically(folder / "learning_curve.md", text.encode())
    numbers = {
        "domain": domain,
        "origin": origin,
        "masks": [point.masks for point in points],
        "noc85": {test: [_noc(point, test) for point in points] for test in tests},
        "saved": {test: [vars(change) for change in changes[test]] for test in tests},
    }
    write_atomically(folder / "learning_curve.json", json.dumps(numbers, indent=1).encode())
    lines = {
        test: [(point.masks, 100 * -c.mean / _noc(points[0], test)) for point, c in zip(
            points, changes[test], strict=True)]
        for test in tests
    }  # fmt: skip
    plot = line_chart(f"{domain}: clicks after fine-tuning", "accepted masks", "change, %", lines)
    write_atomically(folder / "learning_curve.svg", plot.encode())


def _table(points: Sequence[Point], changes: dict[str, list[Interval]]) -> str:
    tests = list(changes)
    rows = ["| masks | " + " | ".join(tests) + " |", "|" + "---|" * (len(tests) + 1)]
    for index, point in enumerate(points):
        cells = [_cell(points[0], point, test, changes[test][index]) for test in tests]
        rows.append(f"| {point.masks} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(base: Point, point: Point, test: str, saved: Interval) -> str:
    if point.masks == 0:
        return f"{_noc(point, test):.2f}"
    share = 0 - saved.mean / _noc(base, test)
    return f"{_noc(point, test):.2f} ({share:+.1%}; saved {saved.low:+.2f} to {saved.high:+.2f})"


def _noc(point: Point, test: str) -> float:
    return point.cards[test].noc(THRESHOLD)


def _change(base: Point, point: Point, test: str) -> Interval:
    return compare(Comparison(base.cards[test], point.cards[test]), _POLICY).saved
