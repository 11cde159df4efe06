"""One contestant on one data set: sample by sample, in several processes, resumable.

Every score is appended to a file as soon as it is known, with the code and the hardware it comes
from, below a line with all the settings it depends on. A run that was interrupted goes on from
there; other settings refuse the file.
"""

import functools
import json
import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from training.atomic_files import write_atomically
from training.clicks.annotator import Annotator, CentreAnnotator, JitteredAnnotator
from training.datasets.sample import EvaluationDataset
from training.errors import BenchmarkError, DatasetError, ScoreCardError
from training.evaluation.click_by_click import ClickSegmenter, evaluate_sample
from training.evaluation.contestants import Contestant
from training.evaluation.noc import PUBLISHED_CLICKS, SampleScore, ScoreCard
from training.evaluation.perturbed_masks import StartFromMask
from training.evaluation.same_settings import require_same
from training.processor_cores import usable_cores
from training.progress import progress

_FORMAT = "icmformer benchmark 2"


@dataclass(frozen=True)
class Protocol:
    """How samples are clicked; the defaults are the published protocol, carried on to IoU 0.95.

    Ending a sample at 0.95 instead of 0.90 changes no number of clicks to 0.90 or below.

    Attributes:
        max_clicks: after which a sample is given up.
        target_iou: at which a sample ends.
        annotator: "centre" as published, or "jitter" for clicks that miss the centre.
        start_from_mask: whether samples start from a damaged mask of the object.
        seed: of jitter and damage.
    """

    max_clicks: int = PUBLISHED_CLICKS
    target_iou: float = 0.95
    annotator: str = "centre"
    start_from_mask: bool = False
    seed: int = 0

    def make_annotator(self) -> Annotator:
        """Return who clicks."""
        return JitteredAnnotator(self.seed) if self.annotator == "jitter" else CentreAnnotator()

    def prepare(self, dataset: EvaluationDataset) -> EvaluationDataset:
        """Return the data set as it is clicked."""
        return StartFromMask(dataset, self.seed) if self.start_from_mask else dataset


@dataclass(frozen=True)
class Run:
    """What is measured.

    Attributes:
        contestant: who answers the clicks.
        dataset_name: such as "GrabCut".
        dataset: opened.
        files: what changes when its files do; see `contents_fingerprint`.
        protocol: how it is clicked.
        every: only every so manieth sample, counted from the first.
    """

    contestant: Contestant
    dataset_name: str
    dataset: EvaluationDataset
    files: str
    protocol: Protocol
    every: int = 1

    def indices(self) -> range:
        """Return which samples are clicked."""
        return range(0, len(self.dataset), self.every)

    def header(self) -> dict[str, object]:
        """Return what a score depends on. Not `every`: a sample scores the same in any company."""
        return {
            "format": _FORMAT,
            "data set": self.dataset_name,
            "files": self.files,
            **self.contestant.settings(self.dataset_name),
            **asdict(self.protocol),
        }

    def results_file(self, output: Path) -> Path:
        """Return where the scores lie in the output folder: other weights have another file."""
        weights = self.contestant.settings(self.dataset_name).get("weights", "")
        who = file_name(f"{self.contestant.name} {weights[:8]}".strip())
        return output / "samples" / f"{who} on {file_name(self.dataset_name)}.jsonl"


@dataclass(frozen=True)
class Measured:
    """The scores of a run, and how many of them come from where: now, or kept from before."""

    card: ScoreCard
    origins: Counter[str]


def file_name(name: str) -> str:
    """Return a name as part of a file's: what not every system takes becomes an underscore."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def require_readable(runs: Sequence[Run], output: Path) -> None:
    """Read all that is still to be clicked: what is damaged is said before hours of clicking.

    Args:
        runs: what is measured.
        output: folder of the results, of which those that are there are not read for.

    Raises:
        DatasetError: naming the first damaged file, and how many others there are.
        BenchmarkError: as `measure`.
    """
    todo: dict[str, set[int]] = {}
    for run in runs:
        kept = _kept(run.results_file(output), run.header())
        todo.setdefault(run.dataset_name, set()).update(
            set(run.indices()) - {k.index for k in kept}
        )
    problems: dict[str, None] = {}  # an image may hold several objects
    for name, dataset in {run.dataset_name: run.dataset for run in runs}.items():
        for index in progress(sorted(todo[name]), desc=f"reading {name}", unit="obj", leave=False):
            try:
                dataset[index]
            except DatasetError as error:
                problems[str(error)] = None
    if problems:
        first, *others = problems
        more = f" ({len(others)} more cannot be used either)" if others else ""
        raise DatasetError(f"{first}{more}")


def measure(run: Run, output: Path, processes: int, origin: str) -> Measured:
    """Score what is not scored yet, and return the scores of all samples.

    Args:
        run: what is measured.
        output: folder of the results; made if missing.
        processes: that share the work; 1 works in this one.
        origin: code, hardware and date of what is scored now, in one line.

    Raises:
        BenchmarkError: if the output folder holds results of other settings under the same name,
            the weights have changed meanwhile, or a process died.
    """
    path = run.results_file(output)
    if processes > 1:
        origin += f", shared by {processes} processes"
    scores = _open_results(path, run.header())
    wanted = run.indices()
    todo = [index for index in wanted if index not in scores]
    title = f"{run.contestant.name} on {run.dataset_name}"
    with (
        path.open("a", encoding="utf-8") as file,
        progress(total=len(wanted), initial=len(wanted) - len(todo), desc=title, unit="obj") as bar,
    ):
        for index, score in _scores(run, todo, processes):
            line = {"index": index, "origin": origin, **asdict(score)}
            file.write(json.dumps(line) + "\n")
            file.flush()
            scores[index] = score, origin
            bar.update()
    samples, origins = zip(*(scores[index] for index in wanted), strict=True)
    card = ScoreCard(samples, run.protocol.max_clicks, run.protocol.target_iou)
    return Measured(card, Counter(origins))


def _scores(run: Run, indices: list[int], processes: int) -> Iterator[tuple[int, SampleScore]]:
    if not indices:
        return
    if processes == 1:
        segmenter = run.contestant.segmenter(run.dataset_name)
        for index in indices:
            yield index, _score(run, segmenter, index)
        return
    # Spawned, not forked: CUDA and OpenCV's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        min(processes, len(indices)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(run, processes),
    )
    try:
        for future in as_completed([pool.submit(_work, index) for index in indices]):
            yield future.result()
    except BrokenProcessPool as error:
        raise BenchmarkError(
            "a process died, perhaps for lack of memory; try fewer --processes. What was measured"
            " is kept: repeat the command to go on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _score(run: Run, segmenter: ClickSegmenter, index: int) -> SampleScore:
    return evaluate_sample(
        segmenter,
        run.protocol.prepare(run.dataset)[index],
        max_clicks=run.protocol.max_clicks,
        target_iou=run.protocol.target_iou,
        annotator=run.protocol.make_annotator(),
    )


# What a worker process clicks, from when it starts.
_worker: Run | None = None


def _start_worker(run: Run, processes: int) -> None:
    global _worker
    # Ctrl-C is for the main process, which then cancels what is waiting.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(max(1, usable_cores() // processes))
    _worker = run


def _work(index: int) -> tuple[int, SampleScore]:
    assert _worker is not None, "the pool starts its workers with _start_worker"
    return index, _score(_worker, _worker_segmenter(), index)


@functools.cache
def _worker_segmenter() -> ClickSegmenter:
    # With the first sample, not when the process starts: what goes wrong there reaches nobody.
    assert _worker is not None, "the pool starts its workers with _start_worker"
    return _worker.contestant.segmenter(_worker.dataset_name)


def _open_results(path: Path, header: dict[str, object]) -> dict[int, tuple[SampleScore, str]]:
    """Return scores and origins in the file by index, and leave it ready for more."""
    scored = _kept(path, header)
    # Written anew without what a killed run or a power cut has damaged, which is measured again.
    complete = [json.dumps(header), *(line.text for line in scored)]
    write_atomically(path, "".join(f"{line}\n" for line in complete).encode())
    return {line.index: (line.score, line.origin) for line in scored}


def _kept(path: Path, header: dict[str, object]) -> "list[_Line]":
    """Return what of a file of results can be read, which must be of the same settings."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    if lines:
        found = _header_in(lines[0], path)
        if found.get("files") != header["files"]:
            raise BenchmarkError(
                f"{path} was measured when {header['data set']} had other files; choose another"
                " --output, or delete it"
            )
        require_same(found, header, path)
    return [line for line in map(_score_in, lines[1:]) if line is not None]


@dataclass(frozen=True)
class _Line:
    text: str
    index: int
    origin: str
    score: SampleScore


def _header_in(line: bytes, path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError) as error:
        raise BenchmarkError(
            f"{path} is damaged or holds no results of a benchmark: choose another --output, or "
            "delete it"
        ) from error


def _score_in(line: bytes) -> _Line | None:
    """Return what a line says, None if it is damaged."""
    try:
        fields = json.loads(line)
        index, origin = int(fields.pop("index")), str(fields.pop("origin"))
        score = SampleScore(**{**fields, "ious": tuple(map(float, fields["ious"]))})
    except (ValueError, TypeError, LookupError, AttributeError, ScoreCardError):
        return None
    return _Line(line.decode(), index, origin, score)
