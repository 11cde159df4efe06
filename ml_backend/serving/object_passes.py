"""The passes of the network that one object takes, without those that are remembered."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icmformer import Click, Predictor, Segmentation
from ml_backend.deadline import Deadline
from ml_backend.label_studio.drawn_objects import DrawnObject
from ml_backend.metrics import Metrics
from ml_backend.serving.click_sessions import ClickSessions, ObjectKey

# Points of other objects that a mask is freed from, one after the other; mostly one or two do.
_MOST_OTHERS = 4


@dataclass(frozen=True)
class ObjectPasses:
    """What segments one object; for the inference thread.

    Attributes:
        drawn: the object.
        image: (H, W, 3) uint8 RGB, upright.
        key: what the masks of this object are remembered by.
        predictor: of the version that answers.
        max_clicks: on one object, those that free it from others included.
        deadline: checked before each click.
        sessions: what is remembered.
        metrics: where clicks are counted.
    """

    drawn: DrawnObject
    image: NDArray[np.uint8]
    key: ObjectKey
    predictor: Predictor
    max_clicks: int
    deadline: Deadline
    sessions: ClickSessions
    metrics: Metrics

    def segmentation(self) -> Segmentation:
        """Segment the object, and free one that a point marks from the points of others.

        Raises:
            DeadlineError: if nobody waits any more.
        """
        if self.drawn.box:
            return self.predictor.segment_box(self.image, self.drawn.box, self._encoded())
        return self._freed(self._clicked())

    def _clicked(self) -> Segmentation:
        """Replay the clicks that are not remembered."""
        clicks = self.drawn.clicks
        result = self.sessions.longest_prefix(self.key, clicks)
        known = len(result.clicks) if result else 0
        for count in range(known + 1, len(clicks) + 1):
            result = self._pass(clicks[:count], result)
        self.metrics.count_object(clicks=len(clicks), known=known)
        assert result is not None, "an object without a box has clicks"
        return result

    def _freed(self, result: Segmentation) -> Segmentation:
        """Alt+click, one after the other, on points of other objects that the mask holds."""
        others = min(_MOST_OTHERS, self.max_clicks - 1) if self.drawn.marked else 0
        for _ in range(others):
            other = self.drawn.other_in(result.mask)
            if other is None:
                break
            clicks = (*result.clicks, other)
            result = self.sessions.recall(self.key, clicks) or self._pass(clicks, result)
        return result

    def _pass(self, clicks: tuple[Click, ...], before: Segmentation | None) -> Segmentation:
        """Answer the last click."""
        self.deadline.check()
        with self.metrics.network_seconds.time():
            start = before or self._encoded()
            result = self.predictor.segment(self.image, clicks, start)
        self.metrics.clicks.inc()
        # Nobody goes on clicking on a point of a batch: the features need not be kept.
        kept = result.without_features() if self.drawn.marked else result
        self.sessions.remember(self.key, kept)
        return result

    def _encoded(self) -> Segmentation:
        """Return what all objects on an image start from, computed for the first of them.

        And for the first one after the version was loaded again.
        """
        of_image = replace(self.key, label=None)
        remembered = self.sessions.longest_prefix(of_image, ())
        start = self.predictor.encode(self.image, remembered)
        if start is not remembered:
            self.sessions.remember(of_image, start)
        return start
