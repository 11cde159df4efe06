"""The objects on which two versions are compared, and how a version did on them.

Where a mask just misses an IoU, the next click falls elsewhere, and one object may take three
clicks or eight. So few objects say little of a version, and more if several annotators click them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from icmformer import Predictor, load_checkpoint
from training.atomic_files import write_atomically
from training.clicks.annotator import several_annotators
from training.datasets.sample import EvaluationDataset
from training.errors import ScoreCardError
from training.evaluation.click_by_click import ClickSegmenter, evaluate
from training.evaluation.noc import PUBLISHED_IOU, SampleScore, ScoreCard
from training.fine_tuning.interruptible import Interruptible
from training.fine_tuning.promotion import Comparison
from training.progress import Report, Stage

_MOST_ANNOTATORS = 4


@dataclass(frozen=True)
class Exercise:
    """Objects, and how many simulated annotators click on each.

    Attributes:
        objects: at least one.
        annotators: how many; the first is the one of the published protocol.
    """

    objects: EvaluationDataset
    annotators: int

    @classmethod
    def of_tries(cls, objects: EvaluationDataset, tries: int) -> "Exercise":
        """Return one with as many annotators as stay within so many tries, from one to four."""
        return cls(objects, min(_MOST_ANNOTATORS, max(1, tries // len(objects))))

    def __len__(self) -> int:
        """Return how often an object is clicked."""
        return len(self.objects) * self.annotators

    def judge(
        self,
        predictor: ClickSegmenter,
        target_iou: float = PUBLISHED_IOU,
        progress: Callable[[SampleScore], None] | None = None,
    ) -> ScoreCard:
        """Let every annotator click on every object.

        Args:
            predictor: that is judged.
            target_iou: at which an object ends.
            progress: called after each object that an annotator is done with.

        Returns:
            Every object once an annotator, the published one's first.
        """
        cards = [
            evaluate(
                predictor,
                self.objects,
                target_iou=target_iou,
                annotator=annotator,
                progress=progress,
            )
            for annotator in several_annotators(self.annotators)
        ]
        return replace(cards[0], samples=tuple(score for card in cards for score in card.samples))


@dataclass(frozen=True)
class Trial:
    """Objects of the project and others; None where there is not one.

    Attributes:
        held_out: accepted objects on images that are never trained on.
        retention: objects unlike the project's, on images that are not replayed.
    """

    held_out: Exercise | None
    retention: Exercise | None


@dataclass(frozen=True)
class TrialScores:
    """How one version did; None where the trial had no objects.

    A card holds every object once an annotator, the published one first.
    """

    held_out: ScoreCard | None
    retention: ScoreCard | None


@dataclass(frozen=True)
class TrialFiles:
    """Where the scores of one version are kept: objects whose scores are there stay unclicked."""

    held_out: Path
    retention: Path


def run_trial(
    checkpoint: Path, trial: Trial, kept: TrialFiles, stage: Stage, device: str, report: Report
) -> TrialScores:
    """Click on every object of the trial with a version, as it would be served.

    Args:
        checkpoint: of the version; it is loaded from disk.
        trial: the objects.
        kept: files for the scores; one that is missing or damaged is written.
        stage: what to call this in a report.
        device: where to compute.
        report: called before each click and after each object that an annotator is done with.

    Raises:
        CheckpointError: if the checkpoint is damaged.
    """
    parts = ((trial.held_out, kept.held_out), (trial.retention, kept.retention))
    total = sum(len(exercise) for exercise, file in parts if exercise and _read(file) is None)
    done = 0

    def tell() -> None:
        report(stage, done, total)

    def count(score: SampleScore) -> None:
        nonlocal done
        done += 1
        tell()

    def judged(exercise: Exercise | None, file: Path) -> ScoreCard | None:
        card = None if exercise is None else _read(file)
        if exercise is not None and card is None:
            predictor = Interruptible(Predictor(load_checkpoint(checkpoint, device)), tell)
            card = exercise.judge(predictor, progress=count)
            write_atomically(file, card.to_json().encode())
        return card

    return TrialScores(*(judged(exercise, file) for exercise, file in parts))


def _read(file: Path) -> ScoreCard | None:
    try:
        return ScoreCard.from_json(file.read_text())
    except (OSError, ValueError, ScoreCardError):  # missing or damaged
        return None


def compared(
    live: TrialScores, candidate: TrialScores
) -> tuple[Comparison | None, Comparison | None]:
    """Pair the scores of two versions: on the held-out objects, and on the retention set."""
    return (
        _comparison(live.held_out, candidate.held_out),
        _comparison(live.retention, candidate.retention),
    )


def _comparison(live: ScoreCard | None, candidate: ScoreCard | None) -> Comparison | None:
    return Comparison(live, candidate) if live is not None and candidate is not None else None
