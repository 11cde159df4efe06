"""A predictor that people who click can hold up."""

from collections.abc import Callable, Sequence

import numpy as np

from icmformer import Click, Segmentation
from training.evaluation.click_by_click import ClickSegmenter


class Interruptible:
    """Calls back before each click: an object may take twenty, and people come first.

    Args:
        predictor: who answers.
        tell: called before each click; it may wait, or raise to stop.
    """

    def __init__(self, predictor: ClickSegmenter, tell: Callable[[], None]) -> None:
        self._predictor = predictor
        self._tell = tell

    def segment(
        self, image: np.ndarray, clicks: Sequence[Click], previous: Segmentation | None = None
    ) -> Segmentation:
        """Segment the object; see `icmformer.Predictor.segment`."""
        self._tell()
        return self._predictor.segment(image, clicks, previous)
