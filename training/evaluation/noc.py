"""IoU, number of clicks, and the score card of a benchmark run.

Conventions of the published protocol (RITM, SimpleClick, iCMFormer):

* Pixels labelled -1 count for nothing.
* NoC@t is the first click whose mask reaches an IoU of t, and the maximum (20) if none does.
* A failure (NoF, "≥20@t") is a sample whose NoC *equals* the maximum. That includes samples which
  reach t with exactly the last click; `ScoreCard.never_reached` counts without them.
* A sample ends at the target IoU, so a curve may be short; its last value is carried forward.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from training.datasets.sample import IGNORE
from training.errors import ScoreCardError
from training.evaluation.bootstrap import interval_over_images

# The published protocol: most clicks on an object, and the IoU at which it ends.
PUBLISHED_CLICKS, PUBLISHED_IOU = 20, 0.90
_JSON_FORMAT = "icmformer score card 1"
# Shares of the image that an object covers. At an input of 448 × 448, one per cent is 45 × 45.
SIZE_CLASSES = {"small": (0.0, 0.01), "medium": (0.01, 0.1), "large": (0.1, np.inf)}


def iou(target: np.ndarray, mask: np.ndarray) -> float:
    """Return intersection over union of the object and the mask, in [0, 1].

    Args:
        target: (H, W) int8; 1 is the object, 0 is not, -1 is ignored.
        mask: (H, W) bool.

    Returns:
        1.0 if there is neither object nor mask: nothing is left to correct.
    """
    counted = mask & (target != IGNORE)
    union = np.count_nonzero(counted | (target == 1))
    # A float of Python's own: NumPy's, compared and counted, would be no plain data for JSON.
    return float(np.count_nonzero(counted & (target == 1)) / union) if union else 1.0


@dataclass(frozen=True)
class SampleScore:
    """How one object went.

    Attributes:
        name: of the sample.
        ious: in [0, 1], after the first click, the second, …; ends when the target was reached.
        seconds: of predictor, annotator and metric together, without reading files.
        object_share: of the image's pixels, in [0, 1].
    """

    name: str
    ious: tuple[float, ...]
    seconds: float
    object_share: float

    def __post_init__(self) -> None:
        if not self.ious:
            raise ScoreCardError(f"sample {self.name} has no IoU: at least one click is needed")


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ScoreCard:
    """How a predictor did on a data set.

    Attributes:
        samples: one score per object.
        max_clicks: after which a sample was given up.
        target_iou: at which a sample was ended; nothing is known of higher IoUs.
    """

    samples: tuple[SampleScore, ...]
    max_clicks: int = PUBLISHED_CLICKS
    target_iou: float = PUBLISHED_IOU

    def __post_init__(self) -> None:
        if not self.samples:
            raise ScoreCardError("a score card needs at least one sample")

    def clicks_to_reach(self, threshold: float) -> np.ndarray:
        """Return every sample's number of clicks, (N,) int in 1..max_clicks.

        Raises:
            ScoreCardError: if the run stopped samples below this IoU.
        """
        self._check_threshold(threshold)
        reached = [np.array(sample.ious) >= threshold for sample in self.samples]
        clicks = [int(hits.argmax()) + 1 if hits.any() else self.max_clicks for hits in reached]
        return np.array(clicks)

    def noc(self, threshold: float) -> float:
        """Return the mean number of clicks to reach an IoU."""
        return float(self.clicks_to_reach(threshold).mean())

    def failures(self, threshold: float) -> int:
        """Count samples whose number of clicks equals the maximum, as published ("≥20@t")."""
        return int((self.clicks_to_reach(threshold) == self.max_clicks).sum())

    def never_reached(self, threshold: float) -> int:
        """Count samples that do not reach an IoU, not even with the last click."""
        self._check_threshold(threshold)
        return sum(max(sample.ious) < threshold for sample in self.samples)

    def curves(self) -> np.ndarray:
        """Return every sample's IoU after each click, (N, max_clicks) float64."""
        missing = [self.max_clicks - len(sample.ious) for sample in self.samples]
        return np.array(
            [
                [*sample.ious, *[sample.ious[-1]] * count]
                for sample, count in zip(self.samples, missing, strict=True)
            ]
        )

    def mean_ious(self) -> np.ndarray:
        """Return the mean IoU after each click, (max_clicks,) float64."""
        return self.curves().mean(axis=0)

    def seconds_per_click(self) -> float:
        """Return the mean time of a click."""
        clicks = sum(len(sample.ious) for sample in self.samples)
        return sum(sample.seconds for sample in self.samples) / clicks

    def noc_interval(self, threshold: float) -> Interval:
        """Return the number of clicks with its confidence interval over images."""
        clicks = self.clicks_to_reach(threshold)
        names = [sample.name for sample in self.samples]
        low, high = interval_over_images(clicks, names, (1, self.max_clicks))
        return Interval(float(clicks.mean()), float(low), float(high))

    def by_object_size(self) -> dict[str, "ScoreCard"]:
        """Split into small, medium and large objects; classes without samples are left out."""
        cards = {}
        for size, (lowest, highest) in SIZE_CLASSES.items():
            kept = tuple(s for s in self.samples if lowest <= s.object_share < highest)
            if kept:
                cards[size] = replace(self, samples=kept)
        return cards

    def to_json(self) -> str:
        """Return everything as JSON text, one line a sample."""
        samples = ",\n".join(json.dumps(asdict(sample)) for sample in self.samples)
        head = json.dumps(
            {
                "format": _JSON_FORMAT,
                "max_clicks": self.max_clicks,
                "target_iou": self.target_iou,
            }
        )
        return f'{head[:-1]}, "samples": [\n{samples}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> "ScoreCard":
        """Read what `to_json` wrote.

        Raises:
            ScoreCardError: if the text is something else.
        """
        try:
            fields = json.loads(text)
            if fields.pop("format") != _JSON_FORMAT:
                raise ScoreCardError("this score card was written in another format")
            samples = tuple(_sample_from(sample) for sample in fields.pop("samples"))
            return cls(samples=samples, **fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ScoreCardError(f"this is not a score card: {error}") from error

    def _check_threshold(self, threshold: float) -> None:
        if threshold > self.target_iou:
            raise ScoreCardError(
                f"clicks to IoU {threshold:g} are unknown, because the run stopped at "
                f"{self.target_iou:g}; evaluate with a target IoU of {threshold:g}"
            )


def _sample_from(fields: dict[str, Any]) -> SampleScore:
    return SampleScore(**{**fields, "ious": tuple(fields["ious"])})
