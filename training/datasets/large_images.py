"""Large images, for a training to hold: shrunk as a whole, or cut into parts.

A network that looks at small objects of a large image sees them in windows, at full resolution
(`icmformer.repeated_zoom_in`). What it learns from has to show them so, too: of an image of 4,096
pixels that is shrunk to 1,024, an object of 20 pixels leaves 5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from icmformer.region_of_interest import centred
from training.datasets.object_boxes import object_boxes
from training.datasets.sample import AnnotatedImage

# Makes one image or several of one.
Reduction = Callable[[AnnotatedImage], Sequence[AnnotatedImage]]

# Side of a part over the longer side of the object in its middle, where that fits, and at least.
_ROOM, _LEAST_ROOM = 16, 4
# An object is seen well enough in a part of at most so many times its own part's side.
_SCALE = 2
# Parts of all images together, each up to five megabytes.
MOST_PARTS = 300


@dataclass(frozen=True)
class Shrunk:
    """Shrinks images.

    Attributes:
        max_side: longest side of the result, in pixels; None keeps all sizes.
    """

    max_side: int | None

    def __call__(self, sample: AnnotatedImage) -> list[AnnotatedImage]:
        """Return the image, of which objects that vanish are left out."""
        height, width = sample.image.shape[:2]
        if self.max_side is None or max(height, width) <= self.max_side:
            return [sample]
        scale = self.max_side / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
        # INTER_NEAREST takes the upper left pixel of what a pixel stands for: half a pixel off.
        planes = [
            cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST_EXACT)
            for plane in np.moveaxis(sample.layers, 2, 0)
        ]
        objects, stuff = (
            tuple((layer, i) for layer, i in places if (planes[layer] == i).any())
            for places in (sample.objects, sample.stuff)
        )
        return [AnnotatedImage(sample.name, image, np.stack(planes, axis=2), objects, stuff)]


@dataclass(frozen=True)
class CloseUps:
    """Cuts images that are too large into parts that show their objects.

    Attributes:
        max_side: longest side of an image that stays as it is, and of a part, in pixels.
        images: how many there are; together they make some 300 parts at most, but each makes one
            at least.
    """

    max_side: int
    images: int

    def __call__(self, sample: AnnotatedImage) -> list[AnnotatedImage]:
        """Return the image, or its parts; an object is asked for in one of them.

        Each part is a square around an object, shrunk if that is large; the fewer of them there may
        be, the larger they are. Of other objects a part may show pieces, which are nothing to be
        asked for.
        """
        shrunk = Shrunk(self.max_side)
        if max(sample.image.shape[:2]) <= self.max_side or not sample.objects:
            return shrunk(sample)
        boxes = np.array([_corners(box) for box in object_boxes(sample)])
        sides = np.array([self._side(box) for box in boxes])
        parts = _parts(boxes, sides, sample.image.shape[:2])
        while len(parts) > max(MOST_PARTS // self.images, 1):
            sides = 2 * sides
            parts = _parts(boxes, sides, sample.image.shape[:2])
        return [part for window, chosen in parts for part in shrunk(_cut(sample, window, chosen))]

    def _side(self, box: np.ndarray) -> int:
        longer = int((box[2:] - box[:2]).max())
        return max(min(_ROOM * longer, self.max_side), _LEAST_ROOM * longer)


def _corners(box: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = box
    return rows.start, columns.start, rows.stop, columns.stop


def _window(box: np.ndarray, side: int, size_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the corners of a square around a box, as far as the image reaches."""
    top, bottom = centred(int(box[0] + box[2]) - 1, side, size_hw[0])
    left, right = centred(int(box[1] + box[3]) - 1, side, size_hw[1])
    return top, left, bottom + 1, right + 1


def _parts(
    boxes: np.ndarray, sides: np.ndarray, size_hw: tuple[int, ...]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return few windows that show all boxes, each with those that no window before it showed.

    Args:
        boxes: (n, 4) corners.
        sides: (n,) of the window around each; in one of twice its side a box is large enough, too.
        size_hw: of the image.
    """
    windows = np.array(
        [_window(box, side, size_hw) for box, side in zip(boxes, sides, strict=True)]
    )
    begins_after = (windows[:, None, :2] <= boxes[:, :2]).all(axis=2)
    ends_before = (boxes[:, 2:] <= windows[:, None, 2:]).all(axis=2)
    shown = begins_after & ends_before & (sides[:, None] <= _SCALE * sides)
    left = np.ones(len(boxes), dtype=bool)
    parts = []
    while left.any():
        most = int((shown & left).sum(axis=1).argmax())
        parts.append((windows[most], shown[most] & left))
        left &= ~shown[most]
    return parts


def _cut(sample: AnnotatedImage, window: np.ndarray, chosen: np.ndarray) -> AnnotatedImage:
    top, left, bottom, right = window.tolist()
    inside = np.s_[top:bottom, left:right]
    layers = sample.layers[inside]
    return replace(
        sample,
        name=f"{sample.name}[{top}:{bottom}, {left}:{right}]",
        image=sample.image[inside],
        layers=layers,
        objects=tuple(
            place for place, is_one in zip(sample.objects, chosen, strict=True) if is_one
        ),
        stuff=tuple((layer, i) for layer, i in sample.stuff if (layers[:, :, layer] == i).any()),
    )
