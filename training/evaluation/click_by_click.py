"""A predictor and a simulated annotator, click by click, until the mask is good enough."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from icmformer.clicks import Click
from icmformer.segmentation import Segmentation
from training.clicks.annotator import Annotator, CentreAnnotator
from training.datasets.sample import EvaluationDataset, EvaluationSample
from training.evaluation.noc import PUBLISHED_CLICKS, PUBLISHED_IOU, SampleScore, ScoreCard, iou


class ClickSegmenter(Protocol):
    """What is measured: `icmformer.Predictor`, or a baseline that answers the same question."""

    def segment(
        self, image: np.ndarray, clicks: Sequence[Click], previous: Segmentation | None = None
    ) -> Segmentation:
        """Segment the object; see `icmformer.Predictor.segment`."""


@dataclass(frozen=True)
class Step:
    """One click, the mask after it, and how good that is."""

    click: Click
    segmentation: Segmentation
    iou: float


def click_through(
    predictor: ClickSegmenter,
    sample: EvaluationSample,
    *,
    max_clicks: int = PUBLISHED_CLICKS,
    target_iou: float = PUBLISHED_IOU,
    annotator: Annotator | None = None,
) -> Iterator[Step]:
    """Click on one object until the target is reached or the clicks are used up.

    The protocol of RITM, SimpleClick and iCMFormer: at least one click, at most `max_clicks`, every
    next one in the largest error of the mask before.

    Args:
        predictor: answers each click.
        sample: image and true mask; clicking starts from its initial mask if it has one.
        max_clicks: at least 1.
        target_iou: in [0, 1]; reaching it ends the sample.
        annotator: chooses the clicks; the published one by default.
    """
    annotator = annotator or CentreAnnotator()
    height, width = sample.target.shape
    mask = sample.initial_mask
    segmentation = None if mask is None else Segmentation.from_mask(mask)
    clicks: list[Click] = []
    mask = np.zeros((height, width), dtype=bool) if segmentation is None else segmentation.mask
    while len(clicks) < max_clicks:
        clicks.append(annotator.next_click(sample.target, mask, clicks))
        segmentation = predictor.segment(sample.image, clicks, segmentation)
        mask = segmentation.mask
        step = Step(clicks[-1], segmentation, iou(sample.target, mask))
        yield step
        if step.iou >= target_iou:
            return


def evaluate_sample(
    predictor: ClickSegmenter,
    sample: EvaluationSample,
    *,
    max_clicks: int,
    target_iou: float,
    annotator: Annotator | None,
) -> SampleScore:
    """Score one object; the arguments are those of `click_through`."""
    started = time.perf_counter()
    steps = click_through(
        predictor, sample, max_clicks=max_clicks, target_iou=target_iou, annotator=annotator
    )
    ious = tuple(step.iou for step in steps)
    return SampleScore(
        name=sample.name,
        ious=ious,
        seconds=time.perf_counter() - started,
        object_share=float((sample.target == 1).mean()),
    )


def evaluate(
    predictor: ClickSegmenter,
    dataset: EvaluationDataset,
    *,
    max_clicks: int = PUBLISHED_CLICKS,
    target_iou: float = PUBLISHED_IOU,
    annotator: Annotator | None = None,
    progress: Callable[[SampleScore], None] | None = None,
) -> ScoreCard:
    """Score all objects of a data set, in order.

    Args:
        predictor: answers each click.
        dataset: of `EvaluationSample`.
        max_clicks: after which a sample is given up.
        target_iou: at which a sample ends; use 0.95 to learn NoC@95 too.
        annotator: chooses the clicks; the published one by default.
        progress: called after each sample.
    """
    scores = []
    for index in range(len(dataset)):
        score = evaluate_sample(
            predictor,
            dataset[index],
            max_clicks=max_clicks,
            target_iou=target_iou,
            annotator=annotator,
        )
        scores.append(score)
        if progress:
            progress(score)
    return ScoreCard(tuple(scores), max_clicks, target_iou)
