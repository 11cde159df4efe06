"""Remembers the masks of objects that are being clicked, so that click n costs one pass.

Only a memory: whatever is not here is computed again by replaying the clicks, with the same result.
It may be emptied at any moment, and no two processes need to share it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icmformer import Click, Segmentation
from icmformer.region_of_interest import RegionOfInterest, bounding_box
from ml_backend.recently_used import RecentlyUsed


@dataclass(frozen=True)
class ObjectKey:
    """What a remembered mask depends on besides its clicks.

    Attributes:
        project: key of the project.
        task: Label Studio's number of the task.
        image: digest of its file, so that a task starts afresh whose data or file were changed.
        label: of the object; None for the image before any click, encoded once for all of them.
        version: the model version that computed the mask.
    """

    project: str
    task: str
    image: str
    label: str | None
    version: str


@dataclass(frozen=True)
class _Trimmed:
    """A segmentation without the rows and columns at its sides that hold nothing but zeros.

    Before the first click that is all of it, and as soon as the predictor looks closer all that it
    does not look at: 48 MB of a photo of twelve megapixels become a few.
    """

    size_hw: tuple[int, ...]
    box: RegionOfInterest | None
    inside: NDArray[np.float32]
    rest: Segmentation  # all but the probability

    @classmethod
    def of(cls, segmentation: Segmentation) -> "_Trimmed":
        whole = segmentation.probability
        box, none = bounding_box(whole), np.zeros((0, 0), np.float32)
        inside = whole[box.slices].copy() if box else none
        return cls(whole.shape, box, inside, replace(segmentation, probability=none))

    def segmentation(self) -> Segmentation:
        probability = np.zeros(self.size_hw, np.float32)
        if self.box:
            probability[self.box.slices] = self.inside
        return replace(self.rest, probability=probability)


class ClickSessions:
    """Segmentations by object and clicks, the least recently used dropped first; thread-safe.

    Every prefix of an object's clicks is an entry of its own. After an undo, or when two quick
    clicks arrive in either order, the longest prefix that is known is still the right one.
    """

    def __init__(self, max_bytes: int) -> None:
        """Remember at most `max_bytes` of masks and image features."""
        self._lock = threading.Lock()
        self._entries: RecentlyUsed[tuple[ObjectKey, tuple[Click, ...]], _Trimmed]
        self._entries = RecentlyUsed(max_bytes)

    @property
    def nbytes(self) -> int:
        """Bytes held; features that several entries share are counted once each."""
        return self._entries.nbytes

    def longest_prefix(self, key: ObjectKey, clicks: Sequence[Click]) -> Segmentation | None:
        """Return the segmentation of as many of the first clicks as possible, if any is known."""
        prefixes = (tuple(clicks[:count]) for count in range(len(clicks), -1, -1))
        with self._lock:
            found = next(filter(None, (self._entries.get((key, some)) for some in prefixes)), None)
        return found.segmentation() if found else None

    def recall(self, key: ObjectKey, clicks: Sequence[Click]) -> Segmentation | None:
        """Return the segmentation of exactly these clicks, if it is known."""
        with self._lock:
            found = self._entries.get((key, tuple(clicks)))
        return found.segmentation() if found else None

    def remember(self, key: ObjectKey, segmentation: Segmentation) -> None:
        """Keep a segmentation, unless it alone is larger than the bound."""
        trimmed = _Trimmed.of(segmentation)
        nbytes = trimmed.inside.nbytes + trimmed.rest.nbytes
        with self._lock:
            self._entries.put((key, segmentation.clicks), trimmed, nbytes)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
