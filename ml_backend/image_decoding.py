"""The bytes of an image file → the pixels a browser would show, within limits."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ml_backend.errors import TaskImageError
from training.shown_pixels import shown_pixels

# Not Pillow's whole list: some of its decoders start other programs or are rarely looked after.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "JPEG2000", "PPM")

_JPEG, _END_OF_JPEG = b"\xff\xd8\xff", b"\xff\xd9"

# Pillow would warn of a bomb, or refuse, by a limit of its own; `decode` has the operator's.
Image.MAX_IMAGE_PIXELS = None


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode the first frame of an image; see `training.shown_pixels`.

    Args:
        data: the file.
        max_pixels: width × height above which nothing is decoded.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        TaskImageError: if it is no image, is damaged, or is too large.
    """
    if data.startswith(_JPEG):
        # Browsers show what there is of a photo whose last bytes are missing; Pillow does if the
        # mark of the end is there. It reads no further than the first one.
        data += _END_OF_JPEG
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_large(image.size, max_pixels)
            return shown_pixels(image)
    except TaskImageError:
        raise
    except UnidentifiedImageError as error:
        raise TaskImageError(f"it is not an image ({_beginning(data)})") from error
    # Damaged files make decoders raise nearly anything: OSError, SyntaxError, IndexError, …
    except Exception as error:
        raise TaskImageError(f"the file is damaged: {error}") from error


def _refuse_large(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise TaskImageError(
            f"it has {width}x{height} pixels, more than the {max_pixels / 1e6:g} megapixels "
            "allowed (ICMFORMER_MAX_IMAGE_MEGAPIXELS)"
        )


def _beginning(data: bytes) -> str:
    """Describe a file that is no image; often it is a page that asks for a login."""
    if not data:
        return "the file is empty"
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, perhaps one that asks for a login"
    if start.startswith((b"<svg", b"<?xml")):
        return "it looks like SVG or XML"
    return f"it begins with {data[:8].hex(' ')}"
