"""A benchmark as one HTML file that works offline, and its curves as files of their own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from training.atomic_files import write_atomically
from training.evaluation.benchmark_numbers import FAILURE_THRESHOLDS, Benchmark
from training.evaluation.benchmark_runs import file_name
from training.evaluation.example_pictures import Strip
from training.evaluation.figures import iou_curves
from training.evaluation.report_tables import clicks_table, details, failures_table


@dataclass(frozen=True)
class Gallery:
    """Pictures of one contestant on one data set.

    Attributes:
        entry: name of the contestant.
        dataset: name of the data set.
        strips: samples by kind: typical, challenging, failures.
    """

    entry: str
    dataset: str
    strips: Mapping[str, Sequence[Strip]]


def write_report(benchmark: Benchmark, galleries: Sequence[Gallery], output: Path) -> Path:
    """Write report.json, report.html and the curves of each data set as figures/NAME.svg.

    Args:
        benchmark: what was found.
        galleries: pictures to show.
        output: an existing folder.

    Returns:
        The HTML file.
    """
    numbers = json.dumps(benchmark.to_dict(), indent=1, ensure_ascii=False)
    write_atomically(output / "report.json", f"{numbers}\n".encode())
    (output / "figures").mkdir(exist_ok=True)
    for name, curves in _curves(benchmark).items():
        write_atomically(output / "figures" / f"{file_name(name)}.svg", curves.encode())
    page = output / "report.html"
    write_atomically(page, render(benchmark, galleries).encode())
    return page


def render(benchmark: Benchmark, galleries: Sequence[Gallery]) -> str:
    """Return the report as HTML that refers to no other file."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("benchmark_report.html").render(
        benchmark=benchmark,
        clicks=clicks_table(benchmark),
        failures=failures_table(benchmark),
        details=details(benchmark),
        curves=_curves(benchmark).values(),
        galleries=galleries,
    )


def _curves(benchmark: Benchmark) -> dict[str, Markup]:
    entries = benchmark.entries
    return {
        name: Markup(
            iou_curves(name, {each.name: each.cards[name] for each in entries}, FAILURE_THRESHOLDS)
        )
        for name in benchmark.published_sizes
    }
