"""The bytes of an image file → its pixels, upright and on white, within limits."""

import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from ml_backend.errors import TaskImageError
from training.datasets.shown_pixels import shown_pixels

# Not Pillow's whole list: some of its decoders start other programs or are rarely looked after.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "JPEG2000", "PPM")

# OpenJPEG takes some 24 bytes for each pixel, and a file of a kilobyte may ask for all of them.
MOST_PIXELS_OF_JPEG_2000 = 25_000_000

_JPEG, _END_OF_JPEG = b"\xff\xd8\xff", b"\xff\xd9"
_SCAN_OF_JPEG = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c][\x01-\x04]")
_MOST_SCANNED_PIXELS = 10_000_000_000
# Pillow reads pixels by 64 kilobytes, or by the pieces of an IDAT, but each marker of a header by
# itself, and keeps most of what it read.
_MOST_READS = 10_000
_BYTES_A_READ = 64
# What Pillow unpacks (up to a megabyte) or copies together with all before it each time it meets
# one. Each of these files has one, or very few.
_COSTLY_PARTS = {b"\x89PNG": b"iCCP", _JPEG: b"Exif\0\0"}
_MOST_COSTLY_PARTS = 100
_TIFF = (b"II*\0", b"MM\0*")
_AVIF = (b"ftypavif", b"ftypavis")
_MOST_MISSING = 0.05

# What it is, and what it begins with, or holds at a place.
_NOT_SERVED: tuple[tuple[str, bytes, int | None], ...] = (
    ("SVG or XML", b"<svg", None),
    ("SVG or XML", b"<?xml", None),
    ("HEIC", b"ftyphei", 4),
    ("HEIC", b"ftyphev", 4),
    ("HEIC", b"ftypmif", 4),
    ("HEIC", b"ftypmsf", 4),
    ("DICOM", b"DICM", 128),
    ("an icon", b"\x00\x00\x01\x00", 0),
    ("JPEG XL", b"\xff\x0a", 0),
    ("JPEG XL", b"\x00\x00\x00\x0cJXL ", 0),
    ("PDF", b"%PDF", 0),
)

# Pillow would warn of a bomb, or refuse, by a limit of its own; `decode` has the operator's.
Image.MAX_IMAGE_PIXELS = None


class _CountedReads(io.BytesIO):
    """A file that may be read in as many steps as an honest one of its size needs."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = _MOST_READS + len(data) // _BYTES_A_READ

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise _too_many_parts()
        return super().read(size)


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode the first frame of an image; see `training.datasets.shown_pixels`.

    Args:
        data: the file.
        max_pixels: width × height above which nothing is decoded.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        TaskImageError: if it is no image, is damaged, is too large, or has too many parts.
    """
    try:
        return _decoded(data, max_pixels)
    except TaskImageError:
        raise
    except UnidentifiedImageError as error:
        raise TaskImageError(_why_no_image(data)) from error
    # Damaged files make decoders raise nearly anything: OSError, SyntaxError, IndexError, …
    except Exception as error:
        shown = _without_its_end(data, max_pixels)
        if shown is None:
            raise TaskImageError(f"the file is damaged: {error}") from error
        return shown


def _decoded(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    _refuse_many_costly_parts(data)
    with Image.open(_CountedReads(data), formats=FORMATS) as image:
        _refuse_large(image, max_pixels)
        _refuse_slow(image, data)
        return shown_pixels(image)


def _without_its_end(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """Return a JPEG that lacks its last bytes as browsers show it; None if it lacks more."""
    if not data.startswith(_JPEG):
        return None
    try:
        shown = _decoded(data + _END_OF_JPEG, max_pixels)
    except Exception:
        return None
    # What was not decoded is of one colour: the lowest rows, or another side if it was turned.
    turned = shown.swapaxes(0, 1)
    sides = (shown, shown[::-1], turned, turned[::-1])
    return shown if max(map(_share_of_one_colour, sides)) <= _MOST_MISSING else None


def _share_of_one_colour(rows: NDArray[np.uint8]) -> float:
    """Return how much of an image lies before the first row of several colours."""
    is_plain = (rows == rows[:, :1]).all(axis=(1, 2))
    return 1.0 if is_plain.all() else float(np.argmin(is_plain)) / len(rows)


def _refuse_large(image: ImageFile, max_pixels: int) -> None:
    width, height = image.size
    has = f"it has {width}x{height} pixels, more than the"
    if width * height > max_pixels:
        raise TaskImageError(
            f"{has} {max_pixels / 1e6:g} megapixels allowed (ICMFORMER_MAX_IMAGE_MEGAPIXELS)"
        )
    if image.format == "JPEG2000" and width * height > MOST_PIXELS_OF_JPEG_2000:
        raise TaskImageError(
            f"{has} {MOST_PIXELS_OF_JPEG_2000 / 1e6:g} megapixels allowed of a JPEG 2000: store it "
            "as PNG or JPEG"
        )


def _refuse_slow(image: ImageFile, data: bytes) -> None:
    """Refuse what takes minutes where others need a second.

    Pillow decodes by Python code a PPM whose values are text or have another maximum than 255, and
    a BMP of run lengths. Each scan of a progressive JPEG visits all pixels, in a hundred bytes.
    """
    if any(tile.codec_name in Image.DECODERS for tile in image.tile):
        raise TaskImageError(
            f"this kind of {image.format} takes too long to decode, so it is not served: store it "
            "as PNG or JPEG"
        )
    progressive = data if "progressive" in image.info else b""
    scans = sum(1 for _ in _SCAN_OF_JPEG.finditer(progressive))
    if scans * image.width * image.height > _MOST_SCANNED_PIXELS:
        raise TaskImageError(
            f"it has {scans} scans, which take too long to decode: store it as PNG or as another "
            "JPEG"
        )


def _refuse_many_costly_parts(data: bytes) -> None:
    for start, part in _COSTLY_PARTS.items():
        if data.startswith(start) and data.count(part) > _MOST_COSTLY_PARTS:
            raise _too_many_parts()


def _too_many_parts() -> TaskImageError:
    return TaskImageError(
        "it consists of too many small parts, which take too long to read: store it anew as PNG "
        "or JPEG"
    )


def _why_no_image(data: bytes) -> str:
    """Describe a file that none of the formats is; often it is a page that asks for a login."""
    if not data:
        return "it is not an image (the file is empty)"
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<!doctype html" in start or b"<html" in start:
        return "it is not an image (it is a web page, perhaps one that asks for a login)"
    for name, sign, place in _NOT_SERVED:
        if start.startswith(sign) if place is None else data.startswith(sign, place):
            return f"it looks like {name}, which is not served: store it as PNG or JPEG"
    if data.startswith(_TIFF):
        return "this kind of TIFF is not served: store it with 1 or 3 channels of 8 or 16 bits"
    if data.startswith(_AVIF, 4):
        return "the AVIF is damaged or has too long a side: store it as PNG or JPEG"
    return f"it is not an image (it begins with {data[:8].hex(' ')})"
