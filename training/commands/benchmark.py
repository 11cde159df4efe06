"""How many clicks does it take? `python -m training benchmark --checkpoint … [--data …] [NAME …]`.

Clicks on every object of the benchmarks as the published protocol does, and writes a table, a JSON
file and an HTML report. Interrupted, it goes on where it stopped when the command is repeated.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from training.datasets.benchmarks import (
    BENCHMARKS,
    add_data_argument,
    benchmark_folder,
    open_benchmark,
    published_size,
)
from training.datasets.fingerprint import contents_fingerprint, require_outside
from training.devices import add_device_argument
from training.errors import BenchmarkError, DatasetError
from training.evaluation.benchmark_numbers import Benchmark, Entry
from training.evaluation.benchmark_runs import (
    Measured,
    Protocol,
    Run,
    measure,
    require_readable,
)
from training.evaluation.click_by_click import click_through
from training.evaluation.contestants import ClassicalMethod, Contestant, Served, named_checkpoints
from training.evaluation.example_pictures import Strip, choose_samples, strip
from training.evaluation.noc import PUBLISHED_IOU, ScoreCard
from training.evaluation.report import Gallery, write_report
from training.home_paths import given_path
from training.progress import progress
from training.provenance import Provenance, provenance
from training.weights_file import is_weights_file
from training.whole_numbers import natural, positive

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_data_argument(parser)
    parser.add_argument(
        "datasets",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(BENCHMARKS)} or folder:PATH; by default all that are in the data folder",
    )
    contestants = parser.add_argument_group("who answers the clicks")
    contestants.add_argument(
        "--checkpoint",
        type=given_path,
        action="append",
        default=[],
        metavar="FILE",
        help=".safetensors of this project, or .pth of the authors'; once for each file",
    )
    contestants.add_argument(
        "--baseline", choices=["grabcut"], help="a classical method beside them"
    )
    contestants.add_argument(
        "--as-served",
        action="store_true",
        help="each checkpoint once more, with the zoom and the tidy masks that people get",
    )
    contestants.add_argument(
        "--input-size",
        type=_size,
        metavar="N or HxW",
        help="input size of the networks; by default the one they were last trained at; 448, and"
        " 672 on DAVIS, for the paper's",
    )
    add_device_argument(parser)
    protocol = parser.add_argument_group("how they are asked")
    defaults = Protocol()
    protocol.add_argument("--max-clicks", type=positive, default=defaults.max_clicks)
    protocol.add_argument(
        "--target-iou",
        type=_iou,
        default=defaults.target_iou,
        help="where an object ends: 0.9 as published and fastest, 0.95 for NoC95 too (default),"
        " 1 for whole curves; no NoC below depends on it",
    )
    protocol.add_argument(
        "--annotator",
        choices=["centre", "jitter"],
        default=defaults.annotator,
        help="click the middle of the largest error as published, or miss it as people do",
    )
    protocol.add_argument(
        "--start-from-mask", action="store_true", help="correct a damaged mask, as in DAVIS-585"
    )
    protocol.add_argument(
        "--seed", type=natural, default=defaults.seed, help="of jitter and damage"
    )
    protocol.add_argument(
        "--every", type=positive, default=1, metavar="N", help="only every N-th object"
    )
    work = parser.add_argument_group("how the work is done")
    work.add_argument(
        "--processes",
        type=positive,
        default=1,
        metavar="N",
        help="share the objects out, all on the one --device; for several GPUs one command each,"
        " with its own --device and --output",
    )
    work.add_argument(
        "--output", type=given_path, default=Path("runs/benchmark"), help="folder of the results"
    )
    work.add_argument(
        "--pictures",
        type=natural,
        default=2,
        metavar="N",
        help="objects of each kind in the report; they are clicked once more",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    try:
        _run(arguments)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            "interrupted; what was measured is kept: repeat the command to go on"
        ) from error


def _run(arguments: argparse.Namespace) -> None:
    # Now, not when all is done: code and weights may change in the hours between.
    origin = provenance(arguments.device)
    runs = _runs(arguments)
    require_readable(runs, arguments.output)
    described = {run.contestant.name: run.contestant.describe() for run in runs}
    found = {
        (run.contestant.name, run.dataset_name): measure(
            run, arguments.output, arguments.processes, origin.place()
        )
        for run in runs
    }
    benchmark = _benchmark(runs, described, found, origin)
    sys.stdout.write(benchmark.text_table())
    sys.stdout.flush()  # pictures take a while
    galleries: list[Gallery] = []
    try:
        if arguments.pictures > 0:
            for run in progress(runs, desc="pictures", unit="gallery"):
                card = found[run.contestant.name, run.dataset_name].card
                galleries.append(_gallery(run, card, arguments.pictures))
    finally:  # the numbers are there, whatever becomes of the pictures
        page = write_report(benchmark, galleries, arguments.output)
        logger.info("report: %s", page)


def _runs(arguments: argparse.Namespace) -> list[Run]:
    """Return what is to be measured: every contestant on every data set."""
    contestants = _contestants(arguments)
    protocol = Protocol(
        arguments.max_clicks,
        arguments.target_iou,
        arguments.annotator,
        arguments.start_from_mask,
        arguments.seed,
    )
    names = arguments.datasets or _present(arguments.data)
    for contestant in contestants:
        for name in names:
            contestant.settings(name)  # what cannot be read is said now, not hours later
    datasets = {name: open_benchmark(name, arguments.data) for name in names}
    folders = {name: benchmark_folder(name, arguments.data) for name in names}
    for folder in folders.values():
        require_outside("--output", arguments.output, folder)
    files = {name: contents_fingerprint(folder) for name, folder in folders.items()}
    return [
        Run(contestant, name, dataset, files[name], protocol, arguments.every)
        for contestant in contestants
        for name, dataset in datasets.items()
    ]


def _benchmark(
    runs: list[Run],
    described: dict[str, str],
    found: dict[tuple[str, str], Measured],
    origin: Provenance,
) -> Benchmark:
    contestants = {run.contestant.name: run.contestant for run in runs}
    entries = []
    for name, contestant in contestants.items():
        mine = {dataset: found[who, dataset] for who, dataset in found if who == name}
        entries.append(
            Entry(
                name,
                described[name],
                contestant.deviation(),
                {dataset: measured.card for dataset, measured in mine.items()},
                sum((measured.origins for measured in mine.values()), Counter()),
            )
        )
    return Benchmark(
        entries=tuple(entries),
        published_sizes={run.dataset_name: published_size(run.dataset_name) for run in runs},
        protocol=runs[0].protocol,
        every=runs[0].every,
        provenance=origin,
    )


def _refuse_mixed_up_names(arguments: argparse.Namespace) -> None:
    """Say when a file stands where data sets do, or the reverse."""
    for path in arguments.checkpoint:
        if not is_weights_file(path):
            raise BenchmarkError(
                f"{path} is no file of weights, which end in .safetensors or .pth;"
                " docs/benchmark.md says how other networks are benchmarked"
            )
    for name in arguments.datasets:
        if is_weights_file(Path(name)):
            raise BenchmarkError(f"{name} is no data set: write --checkpoint before each file")


def _contestants(arguments: argparse.Namespace) -> list[Contestant]:
    _refuse_mixed_up_names(arguments)
    checkpoints = named_checkpoints(arguments.checkpoint, arguments.device, arguments.input_size)
    contestants: list[Contestant] = [*checkpoints]
    if arguments.as_served and arguments.input_size:
        raise BenchmarkError("people are served at a network's own size: drop --input-size")
    if arguments.as_served:
        contestants += [Served(f"{c.name} as served", c.path, c.device) for c in checkpoints]
    if arguments.baseline:
        contestants.append(ClassicalMethod())
    if not contestants:
        raise BenchmarkError("there is nothing to measure: give --checkpoint, --baseline, or both")
    name, times = Counter(contestant.name for contestant in contestants).most_common(1)[0]
    if times > 1:
        raise BenchmarkError(f"two rows would be called {name!r}: rename the file of one")
    return contestants


def _present(data: Path | None) -> Sequence[str]:
    """Return the benchmarks that lie in the data folder."""
    if data is None:
        raise DatasetError(
            "which data sets? Give --data, the folder that holds the benchmarks' folders, or name"
            " some of your own as folder:PATH"
        )
    present = [name for name in BENCHMARKS if benchmark_folder(name, data).is_dir()]
    if not present:
        raise DatasetError(
            f"none of {', '.join(BENCHMARKS)} is a folder in {data}; --data is the folder that"
            " holds them"
        )
    return present


def _gallery(what: Run, card: ScoreCard, count: int) -> Gallery:
    """Click on a few objects again, this time to draw them until IoU 0.90, as in figure 10."""
    segmenter = what.contestant.segmenter(what.dataset_name)
    dataset, indices = what.protocol.prepare(what.dataset), what.indices()
    strips: dict[str, list[Strip]] = {}
    good = min(PUBLISHED_IOU, what.protocol.target_iou)
    for kind, positions in choose_samples(card, count, good).items():
        strips[kind] = []
        for position in positions:
            sample = dataset[indices[position]]
            steps = click_through(
                segmenter,
                sample,
                max_clicks=what.protocol.max_clicks,
                target_iou=good,
                annotator=what.protocol.make_annotator(),
            )
            strips[kind].append(strip(sample, list(steps)))
    return Gallery(what.contestant.name, what.dataset_name, strips)


def _iou(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and at most 1")
    return value


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    try:
        return positive(height), positive(width or height)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text} is not of the form 448 or 448x672") from error
