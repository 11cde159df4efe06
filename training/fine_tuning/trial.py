"""The objects on which two versions are compared, and how a version did on them.

Where a mask just misses an IoU, the next click falls elsewhere, and one object may take three
clicks or eight. So few objects say little of a version, and more if several annotators click them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from icmformer import Predictor
from training.atomic_files import write_atomically
from training.clicks.annotator import several_annotators
from training.datasets.sample import EvaluationDataset
from training.errors import ScoreCardError
from training.evaluation.click_by_click import ClickSegmenter, evaluate
from training.evaluation.noc import PUBLISHED_IOU, SampleScore, ScoreCard
from training.fine_tuning.interruptible import Interruptible
from training.progress import Stage, Tell

# Accepted objects on images that are never trained on, and objects unlike the project's, on images
# that are not replayed. Where there are none, a side is left out.
Side = Literal["held_out", "retention"]
# How one version did; a card holds every object once an annotator, the published one first.
Scores = Mapping[Side, ScoreCard]

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


def run_trial(
    predictor: Callable[[Side], Predictor],
    exercises: Mapping[Side, Exercise],
    files: Mapping[Side, Path],
    stage: Stage,
    tell: Tell,
) -> Scores:
    """Click on every object of the exercises with a version, as it would be served.

    Args:
        predictor: loads the version from disk, for a side.
        exercises: the objects of each side.
        files: for the scores of each side: objects whose scores are there stay unclicked; a file
            that is missing or damaged is written.
        stage: what to call this where it is told.
        tell: called before each click and after each object that an annotator is done with.

    Returns:
        Scores of the sides that have an exercise.

    Raises:
        CheckpointError: if the checkpoint is damaged.
    """
    kept = {side: _read(files[side]) for side in exercises}
    total = sum(len(exercise) for side, exercise in exercises.items() if kept[side] is None)
    done = 0

    def clicking() -> None:
        tell(stage, done, total)

    def count(score: SampleScore) -> None:
        nonlocal done
        done += 1
        clicking()

    scores: dict[Side, ScoreCard] = {}
    for side, exercise in exercises.items():
        card = kept[side]
        if card is None:
            card = exercise.judge(Interruptible(predictor(side), clicking), progress=count)
            write_atomically(files[side], card.to_json().encode())
        scores[side] = card
    return scores


def _read(file: Path) -> ScoreCard | None:
    try:
        return ScoreCard.from_json(file.read_text())
    except (OSError, ValueError, ScoreCardError):  # missing or damaged
        return None
