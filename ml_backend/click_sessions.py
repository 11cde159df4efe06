"""Remembers the masks of objects that are being clicked, so that click n costs one pass.

Only a memory: whatever is not here is computed again by replaying the clicks, with the same result.
It may be emptied at any moment, and no two processes need to share it.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from icmformer import Click, Segmentation


@dataclass(frozen=True)
class ObjectKey:
    """What a remembered mask depends on besides its clicks.

    Attributes:
        project: Label Studio's number of the project.
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


class ClickSessions:
    """Segmentations by object and clicks, the least recently used dropped first; thread-safe.

    Every prefix of an object's clicks is an entry of its own. After an undo, or when two quick
    clicks arrive in either order, the longest prefix that is known is still the right one.
    """

    def __init__(self, max_bytes: int) -> None:
        """Remember at most `max_bytes` of masks and image features."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[ObjectKey, tuple[Click, ...]], Segmentation]
        self._entries = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes held; features that several entries share are counted once each."""
        return self._bytes

    def longest_prefix(self, key: ObjectKey, clicks: Sequence[Click]) -> Segmentation | None:
        """Return the segmentation of as many of the first clicks as possible, if any is known."""
        clicks = tuple(clicks)
        with self._lock:
            for count in range(len(clicks), -1, -1):
                entry = (key, clicks[:count])
                if entry in self._entries:
                    self._entries.move_to_end(entry)
                    return self._entries[entry]
        return None

    def remember(self, key: ObjectKey, segmentation: Segmentation) -> None:
        """Keep a segmentation, unless it alone is larger than the bound."""
        if segmentation.nbytes > self._max_bytes:
            return
        entry = (key, segmentation.clicks)
        with self._lock:
            self._drop(entry)
            self._entries[entry] = segmentation
            self._bytes += segmentation.nbytes
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, entry: tuple[ObjectKey, tuple[Click, ...]]) -> None:
        dropped = self._entries.pop(entry, None)
        if dropped is not None:
            self._bytes -= dropped.nbytes
