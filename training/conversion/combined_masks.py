"""Which masks of COCO and LVIS make one image of COCO+LVIS: the rules of RITM's conversion.

LVIS outlines carefully, but not every object; COCO has those that LVIS left out. Thresholds and
order are those of `scripts/annotations_conversion/coco_lvis.py` and `common.py` in
github.com/SamsungLabs/ritm_interactive_segmentation.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_LEAST_OBJECT = 80  # pixels
_LEAST_STUFF = 501
_BOXES_ALIKE = 0.7
_SAME_OBJECT = 0.7
_SAME_IN_LVIS = 0.85
_PART_OF_BOX = 0.7
_PART = 0.8


@dataclass(frozen=True)
class CombinedMasks:
    """The masks of one image, (H, W) bool each.

    Attributes:
        whole: objects that are asked for.
        parts: objects that lie on a larger one.
        stuff: sky, grass and the like, without what lies on it.
    """

    whole: tuple[np.ndarray, ...]
    parts: tuple[np.ndarray, ...]
    stuff: tuple[np.ndarray, ...]


def combine(
    lvis: Iterable[np.ndarray], things: Iterable[np.ndarray], stuff: Iterable[np.ndarray]
) -> CombinedMasks:
    """Combine the masks of an image, each (H, W) bool.

    Args:
        lvis: objects of LVIS. Of two that are nearly the same, the later is taken.
        things: objects of COCO's panoptic segmentation, crowds included; those that LVIS has as
            well are left out.
        stuff: the other segments of COCO's.
    """
    fine = [one for one in map(_Outlined, lvis) if one.area >= _LEAST_OBJECT]
    coarse = [one for one in map(_Outlined, things) if one.area >= _LEAST_OBJECT]
    objects = [one for one in coarse if not any(other.matches(one, _SAME_OBJECT) for other in fine)]
    objects += [
        one
        for number, one in enumerate(fine, start=1)
        if not any(one.matches(later, _SAME_IN_LVIS) for later in fine[number:])
    ]
    objects.sort(key=lambda one: one.area, reverse=True)
    is_part = [
        any(one.is_part_of(larger) for larger in objects[:number])
        for number, one in enumerate(objects)
    ]
    return CombinedMasks(
        whole=tuple(one.mask for one, part in zip(objects, is_part, strict=True) if not part),
        parts=tuple(one.mask for one, part in zip(objects, is_part, strict=True) if part),
        stuff=tuple(_uncovered(stuff, objects)),
    )


class _Outlined:
    """A mask, its area and its box: (2, 2) int, first and last row and column."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        self.area = int(np.count_nonzero(mask))
        spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
        self.box = np.array([(span[0], span[-1]) if len(span) else (0, -1) for span in spans])

    def matches(self, other: "_Outlined", least: float) -> bool:
        """Say whether boxes and masks overlap so much that they are the same object."""
        hull = np.maximum(self.box[:, 1], other.box[:, 1]) - np.minimum(
            self.box[:, 0], other.box[:, 0]
        )
        # RITM multiplies the overlaps of rows and columns, each over what both span together.
        if (self._shared(other) / (hull + 1)).prod() <= _BOXES_ALIKE:
            return False
        overlap = np.count_nonzero(self.mask & other.mask)
        return overlap > least * (self.area + other.area - overlap)

    def is_part_of(self, larger: "_Outlined") -> bool:
        """Say whether this lies nearly whole on another one."""
        size = self.box[:, 1] - self.box[:, 0] + 1
        if self._shared(larger).prod() < _PART_OF_BOX * size.prod():
            return False
        return np.count_nonzero(self.mask & larger.mask) > _PART * self.area

    def _shared(self, other: "_Outlined") -> np.ndarray:
        """Return the rows and the columns that both boxes have, (2,)."""
        first = np.maximum(self.box[:, 0], other.box[:, 0])
        last = np.minimum(self.box[:, 1], other.box[:, 1])
        return np.maximum(last - first + 1, 0)


def _uncovered(stuff: Iterable[np.ndarray], objects: list[_Outlined]) -> Iterable[np.ndarray]:
    covered = np.logical_or.reduce([one.mask for one in objects]) if objects else False
    for mask in stuff:
        left = mask & ~np.asarray(covered)
        if np.count_nonzero(left) >= _LEAST_STUFF:
            yield left
