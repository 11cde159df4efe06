"""One object as the live model and the candidate see it after the same number of clicks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icmformer import Click, Segmentation
from icmformer.region_of_interest import bounding_box
from training.datasets.sample import EvaluationSample
from training.evaluation.click_by_click import ClickSegmenter, Step, click_through
from training.evaluation.example_pictures import strip
from training.evaluation.noc import ScoreCard

_MOST_CLICKS = 5
_LEAST_CHANGE = 0.02
_MARGIN = 0.6  # around the object, as a share of its longer side
_LEAST_SIDE = 40


@dataclass(frozen=True)
class Pair:
    """The same object twice; pictures are data URLs.

    Attributes:
        name: of the object.
        clicks: after which the masks are shown.
        truth: the image with the accepted outline.
        live, candidate: the image with each mask.
        live_iou, candidate_iou: of those masks.
    """

    name: str
    clicks: int
    truth: str
    live: str
    candidate: str
    live_iou: float
    candidate_iou: float

    def to_dict(self) -> dict[str, object]:
        """Return plain data."""
        return asdict(self)


def most_changed(
    live: ScoreCard, candidate: ScoreCard, count: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the objects that improved most and those that got worse most.

    Args:
        live: of the live model.
        candidate: over the same objects.
        count: most objects of each kind.

    Returns:
        Two lists of (position in the cards, number of clicks at which they differ most).
    """
    changes = []
    for index, (before, after) in enumerate(zip(live.samples, candidate.samples, strict=True)):
        gains = _curve(after.ious) - _curve(before.ious)
        clicks = int(np.abs(gains).argmax()) + 1
        changes.append((float(gains[clicks - 1]), index, clicks))
    changes.sort()
    worse = [(i, n) for gain, i, n in changes[:count] if gain < -_LEAST_CHANGE]
    improved = [(i, n) for gain, i, n in changes[::-1][:count] if gain > _LEAST_CHANGE]
    return improved, worse


def draw_pair(
    sample: EvaluationSample, live: ClickSegmenter, candidate: ClickSegmenter, clicks: int
) -> Pair:
    """Click on an object with both models and draw what each answered.

    Args:
        sample: the object.
        live: the live model.
        candidate: the other.
        clicks: how many.
    """
    shown, drawn = _around(sample), []
    for predictor in (live, candidate):
        # A model that is satisfied earlier shows the mask it was satisfied with.
        steps = list(click_through(predictor, sample, max_clicks=clicks))
        picture = strip(shown.sample, [shown.step(step) for step in steps])
        drawn.append((picture.panels[-1].overlay, steps[-1].iou))
        truth = picture.truth
    return Pair(sample.name, clicks, truth, drawn[0][0], drawn[1][0], drawn[0][1], drawn[1][1])


@dataclass(frozen=True)
class _Cut:
    """A sample cut down to its object, so that small objects can be seen."""

    sample: EvaluationSample
    top: int
    left: int

    def step(self, step: Step) -> Step:
        height, width = self.sample.target.shape
        window = np.s_[self.top : self.top + height, self.left : self.left + width]
        clicks = [_moved(click, -self.left, -self.top) for click in step.segmentation.clicks]
        probability = step.segmentation.probability[window].copy()
        return Step(clicks[-1], Segmentation(probability, tuple(clicks)), step.iou)


def _around(sample: EvaluationSample) -> _Cut:
    box = bounding_box(sample.target == 1)
    assert box is not None, "a sample has an object"
    side = round(max(*box.size_hw, _LEAST_SIDE) * (1 + 2 * _MARGIN))
    (top, bottom), (left, right) = (
        _window(span, side, length)
        for span, length in zip(box.slices, sample.target.shape, strict=True)
    )
    window = np.s_[top:bottom, left:right]
    cut = replace(
        sample, image=sample.image[window], target=sample.target[window], initial_mask=None
    )
    return _Cut(cut, top, left)


def _window(span: slice, side: int, length: int) -> tuple[int, int]:
    start = max((span.start + span.stop - side) // 2, 0)
    return start, min(start + side, length)


def _moved(click: Click, x: float, y: float) -> Click:
    return Click(click.x + x, click.y + y, click.positive)


def _curve(ious: Sequence[float]) -> NDArray[np.float64]:
    return np.array([*ious, *[ious[-1]] * _MOST_CLICKS][:_MOST_CLICKS])
