"""The tables of a report: ours beside published rows, and every number of ours in detail."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from training.evaluation.benchmark_numbers import (
    FAILURE_THRESHOLDS,
    THRESHOLDS,
    Benchmark,
    known,
    metric_names,
    percent,
)
from training.evaluation.noc import ScoreCard
from training.evaluation.published import FAILURES, TABLE_1_DATASETS, PublishedRow, click_rows

_NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Row:
    """A row of a comparison; `cells` follow the columns of its table.

    Attributes:
        name: of contestant or method.
        detail: backbone, or what a contestant is.
        source: where published numbers stand; empty for ours.
        cells: texts.
    """

    name: str
    detail: str
    source: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ComparisonTable:
    """A table in the paper's layout.

    Attributes:
        datasets: the groups of columns.
        metrics: the columns of each group; none where samples ended before what is published.
        groups: titles and rows; ours first, then published ones by what they were trained on.
    """

    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]


@dataclass(frozen=True)
class Cell:
    """A number, and in small type its confidence interval or what else qualifies it."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Details:
    """All numbers of ours on one data set.

    Attributes:
        dataset: its name.
        columns: names of the numbers.
        entries: each contestant's name, and its rows by object size; the first row is of all.
    """

    dataset: str
    columns: tuple[str, ...]
    entries: tuple[tuple[str, dict[str, list[Cell]]], ...]


def clicks_table(benchmark: Benchmark) -> ComparisonTable:
    """Return numbers of clicks in the layout of table 1."""
    return _comparison(
        benchmark, "NoC", lambda card, t: f"{card.noc(t):.2f}", click_rows(), "{:.2f}"
    )


def failures_table(benchmark: Benchmark) -> ComparisonTable:
    """Return numbers of failures in the layout of tables 2 and 7."""
    return _comparison(benchmark, "NoF", lambda card, t: str(card.failures(t)), FAILURES, "{:.0f}")


def details(benchmark: Benchmark) -> list[Details]:
    """Return every number of ours, a table for each data set."""
    columns = (
        "objects",
        *metric_names(benchmark.protocol),
        *(f"IoU@{k}" for k in _shown_clicks(benchmark.protocol.max_clicks)),
        "s / click",
    )
    return [
        Details(
            dataset,
            columns,
            tuple((entry.name, _detail_rows(entry.cards[dataset])) for entry in benchmark.entries),
        )
        for dataset in benchmark.published_sizes
    ]


def _comparison(
    benchmark: Benchmark,
    metric: str,
    measure: Callable[[ScoreCard, float], str],
    rows: Iterable[PublishedRow],
    number: str,
) -> ComparisonTable:
    others = [name for name in benchmark.published_sizes if name not in TABLE_1_DATASETS]
    datasets = (*TABLE_1_DATASETS, *others)
    thresholds = [t for t in FAILURE_THRESHOLDS if t <= benchmark.protocol.target_iou]
    names = tuple(f"{metric}{percent(t)}" for t in thresholds)

    def our_cell(card: ScoreCard | None, threshold: float) -> str:
        return _NOTHING if card is None else measure(card, threshold)

    ours = tuple(
        Row(
            entry.name,
            entry.description,
            "",
            tuple(our_cell(entry.cards.get(d), t) for d in datasets for t in thresholds),
        )
        for entry in benchmark.entries
    )
    theirs: dict[str, list[Row]] = {}
    for row in rows:
        scores = [row.scores.get(d, {}).get(name) for d in datasets for name in names]
        cells = tuple(_NOTHING if value is None else number.format(value) for value in scores)
        theirs.setdefault(row.trained_on, []).append(
            Row(row.method, row.backbone, row.source, cells)
        )
    groups = (
        ("Measured here", ours),
        *((f"Published, trained on {data}", tuple(rows)) for data, rows in theirs.items()),
    )
    return ComparisonTable(datasets, names, groups)


def _detail_rows(card: ScoreCard) -> dict[str, list[Cell]]:
    parts = {"all": card, **card.by_object_size()}
    return {size: list(_detail_cells(part)) for size, part in parts.items()}


def _detail_cells(card: ScoreCard) -> Iterator[Cell]:
    yield Cell(str(len(card.samples)))
    for threshold in known(card, THRESHOLDS):
        clicks = card.noc_interval(threshold)
        yield Cell(f"{clicks.mean:.2f}", f"{clicks.low:.2f} to {clicks.high:.2f}")
    for threshold in known(card, FAILURE_THRESHOLDS):
        yield Cell(str(card.failures(threshold)), f"{card.never_reached(threshold)} never")
    mean_ious = card.mean_ious()
    for clicks_made in _shown_clicks(card.max_clicks):
        yield Cell(f"{mean_ious[clicks_made - 1]:.3f}")
    yield Cell(f"{card.seconds_per_click():.3f}")


def _shown_clicks(max_clicks: int) -> list[int]:
    return [clicks for clicks in (1, 3, 5, 10, 20) if clicks <= max_clicks]
