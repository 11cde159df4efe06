"""What people are shown of a candidate: curves, and the masks that changed most, side by side."""

from dataclasses import replace
from typing import Any

from training.evaluation.click_by_click import ClickSegmenter
from training.evaluation.figures import iou_curves
from training.evaluation.noc import ScoreCard
from training.fine_tuning.promotion import Change, Comparison, Decision
from training.fine_tuning.side_by_side import Pair, draw_pair, most_changed
from training.fine_tuning.trial import Exercise

_PAIRS = 6


def improvement_report(
    held_out: Comparison | None,
    retention: Comparison | None,
    exercise: Exercise | None,
    live: ClickSegmenter,
    candidate: ClickSegmenter,
    threshold: float,
) -> dict[str, Any]:
    """Return the report as plain data, pictures and curves included.

    Args:
        held_out: the scores on the project's objects.
        retention: the scores on the retention set, perhaps of the version that was first.
        exercise: the held-out objects that the scores are about.
        live: the version that was live.
        candidate: the other.
        threshold: the IoU to which the gate counted clicks.
    """
    improved: list[Pair] = []
    worse: list[Pair] = []
    if held_out is not None and exercise is not None:
        objects = exercise.objects
        for pairs, chosen in zip(
            (improved, worse),
            most_changed(
                _by_first_annotator(held_out.live, len(objects)),
                _by_first_annotator(held_out.candidate, len(objects)),
                _PAIRS,
            ),
            strict=True,
        ):
            pairs += [draw_pair(objects[i], live, candidate, clicks) for i, clicks in chosen]
    return {
        "curves": {
            "held_out": _curves("held-out objects", held_out, threshold),
            "retention": _curves("retention set", retention, threshold),
            "held_out_means": _mean_ious(held_out),
            "retention_means": _mean_ious(retention),
        },
        "improved": [pair.to_dict() for pair in improved],
        "worse": [pair.to_dict() for pair in worse],
    }


def decision_summary(decision: Decision) -> dict[str, Any]:
    """Return the numbers of a decision as plain data."""
    return {
        "held_out": _change_summary(decision.held_out),
        "retention": _change_summary(decision.retention),
    }


def _by_first_annotator(card: ScoreCard, objects: int) -> ScoreCard:
    """Return the scores of the annotator whose clicks are drawn."""
    return replace(card, samples=card.samples[:objects])


def _curves(title: str, comparison: Comparison | None, threshold: float) -> str | None:
    if comparison is None:
        return None
    cards = {"before": comparison.live, "candidate": comparison.candidate}
    return iou_curves(title, cards, (threshold,))


def _mean_ious(comparison: Comparison | None) -> list[list[float]] | None:
    """Return what the curves show: after each click the mean IoU before and of the candidate."""
    if comparison is None:
        return None
    both = comparison.live.mean_ious(), comparison.candidate.mean_ious()
    return [[float(before), float(candidate)] for before, candidate in zip(*both, strict=True)]


def _change_summary(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "live": change.live,
        "candidate": change.candidate,
        "saved": change.saved.mean,
        "saved_low": change.saved.low,
        "saved_high": change.saved.high,
        "share": change.share,
        "objects": change.objects,
        "images": change.images,
    }
