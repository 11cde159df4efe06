"""The objects on which two versions are compared, and how a version did on them."""

import json
from dataclasses import dataclass
from pathlib import Path

from icmformer import Predictor, load_checkpoint
from training.evaluation import EvaluationDataset, evaluate
from training.fine_tune import Report
from training.noc import SampleScore, ScoreCard
from training.promotion import Comparison
from training.stored_files import write_atomically


@dataclass(frozen=True)
class Trial:
    """Objects of the project and others; None where there is not one.

    Attributes:
        held_out: accepted objects on images that are never trained on.
        retention: objects unlike the project's, on images that are not replayed.
    """

    held_out: EvaluationDataset | None
    retention: EvaluationDataset | None

    def objects(self) -> int:
        """Return how many objects there are to click on."""
        return sum(len(objects) for objects in (self.held_out, self.retention) if objects)


@dataclass(frozen=True)
class TrialScores:
    """How one version did; None where the trial had no objects."""

    held_out: ScoreCard | None
    retention: ScoreCard | None

    def to_json(self) -> str:
        """Return text that `from_json` reads."""
        cards = {"held_out": self.held_out, "retention": self.retention}
        return json.dumps({name: card and card.to_json() for name, card in cards.items()})

    @classmethod
    def from_json(cls, text: str) -> "TrialScores":
        """Read what `to_json` wrote.

        Raises:
            ScoreCardError: if a card is damaged.
        """
        cards = json.loads(text)
        return cls(**{name: card and ScoreCard.from_json(card) for name, card in cards.items()})


def run_trial(
    checkpoint: Path, trial: Trial, kept: Path, stage: str, device: str, report: Report
) -> TrialScores:
    """Click on every object of the trial with a version, as it would be served.

    Args:
        checkpoint: of the version; it is loaded from disk.
        trial: the objects.
        kept: file for the scores; where it exists, nothing is clicked.
        stage: what to call this in a report.
        device: where to compute.
        report: called after each object.

    Raises:
        CheckpointError: if the checkpoint is damaged.
    """
    if kept.exists():
        return TrialScores.from_json(kept.read_text())
    predictor = Predictor.for_serving(load_checkpoint(checkpoint, device))
    total, done = trial.objects(), 0

    def count(score: SampleScore) -> None:
        nonlocal done
        done += 1
        report(stage, done, total)

    def judge(objects: EvaluationDataset | None) -> ScoreCard | None:
        return None if objects is None else evaluate(predictor, objects, progress=count)

    scores = TrialScores(judge(trial.held_out), judge(trial.retention))
    write_atomically(kept, scores.to_json().encode())
    return scores


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
