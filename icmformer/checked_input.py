"""What the predictor is given, checked before the network sees it."""

import math
import zlib
from collections.abc import Sequence

import numpy as np

from icmformer.box import Box
from icmformer.clicks import Click
from icmformer.errors import InputError
from icmformer.placed_clicks import BORDER_TOLERANCE
from icmformer.segmentation import Segmentation

# Of a larger image a fingerprint reads one pixel in so many, down and across: of 12 megapixels one
# of 9 x 8, in 0.6 ms. Reading them all takes 20 ms.
_FINGERPRINT_BYTES = 1 << 19


def image_size(image: np.ndarray) -> tuple[int, int]:
    """Return height and width of an image.

    Raises:
        InputError: if it is no (H, W, 3) array of uint8.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise InputError(f"an image needs to be a numpy array of uint8, this one is {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"an image needs the shape (height, width, 3), this one has {image.shape}")
    return image.shape[0], image.shape[1]


def check_box(box: Box, image_hw: tuple[int, int]) -> None:
    """Refuse what is no box on an image of this height and width.

    Raises:
        InputError: if it is no `Box` or lies more than a pixel outside.
    """
    if not isinstance(box, Box):
        raise InputError(f"{box!r} is no box: use Box(left, top, right, bottom)")
    height, width = image_hw
    outside = max(-box.left, -box.top, box.right - width, box.bottom - height)
    if outside > BORDER_TOLERANCE:
        raise InputError(
            f"the box from x={float(box.left):g}, y={float(box.top):g} to x={float(box.right):g}, "
            f"y={float(box.bottom):g} is not on the image, which is {width} pixels wide and "
            f"{height} high: give left, top, right and bottom"
        )


def image_fingerprint(image: np.ndarray) -> int:
    """Return a number that another image hardly has, whatever the memory layout of this one.

    A large one may keep it where what changes is thin or small: of 12 megapixels, in less than 9
    rows or 8 columns on end.
    """
    share = math.ceil(image.size / _FINGERPRINT_BYTES)
    down = math.ceil(math.sqrt(share))
    pixels = image[::down, :: math.ceil(share / down)]
    # One channel after the other: in this order BGR seen as RGB is copied as fast as RGB.
    return zlib.crc32(pixels.transpose(2, 0, 1).copy().data)


def check_previous(
    previous: Segmentation,
    clicks: Sequence[Click],
    image_hw: tuple[int, int],
    fingerprint: int,
) -> None:
    """Refuse to go on from what does not belong to these clicks on this image.

    Raises:
        InputError: if it is no `Segmentation`, of another image or size, or comes from other clicks
            than the first of these.
    """
    if not isinstance(previous, Segmentation):
        raise InputError(
            f"the previous segmentation is a {type(previous).__name__}: to start from a mask, use "
            "Segmentation.from_mask(mask)"
        )
    if previous.probability.shape != image_hw:
        raise InputError(
            f"the previous segmentation is {previous.probability.shape} pixels high and wide, "
            f"the image {image_hw}"
        )
    if previous.image_fingerprint not in (None, fingerprint):
        raise InputError(
            "previous is of another image; to start from its mask, give "
            "Segmentation.from_mask(previous.mask)"
        )
    if previous.clicks and not clicks:
        raise InputError(
            "the previous segmentation has clicks already; to start anew, give what encode(image) "
            "returns, or Segmentation.from_mask(previous.mask) to start from its mask"
        )
    if not previous.leads_to(clicks):
        raise InputError(
            "the previous segmentation comes from clicks that are not the first of these; give all "
            "clicks, in order"
        )
