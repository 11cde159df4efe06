"""An opened image → the pixels to click on and to train on, as upright RGB.

Masks must fit what the annotator sees, and a network must be trained on what it is served, so
orientation and transparency follow the browser. Shades need not. A network that is shown an image
nearly black, as browsers show 12-bit values in a 16-bit file, finds nothing in it; colour profiles
and gAMA are ignored, because they hardly cost clicks. What no browser shows (TIFF) follows the same
rules where they apply.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import Blend, PngImageFile

from training.datasets.upright import upright

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_BAND_ROWS = 256


def shown_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the first frame of an image on a white page.

    * EXIF orientation 1–8 is applied where browsers apply it, so the result has the size that the
      browser calls natural.
    * Transparent pixels are mixed with white, the page they are shown on.
    * Deep grey images (16 or 32 bits, as microscopes write them) are scaled by the number of bits
      their largest value needs, floating point by the value itself; what is negative is black. Of
      16-bit colour the upper 8 bits count.

    Args:
        image: as Pillow opened it; loaded here.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        Exception: nearly any, from Pillow, if the file is damaged; ValueError, if an APNG begins
            with a part of a picture.
    """
    # Pillow turns a TIFF while it loads it, and would believe an orientation in XMP as well.
    for key in ("xmp", "XML:com.adobe.xmp", "Raw profile type xmp"):
        image.info.pop(key, None)
    if isinstance(image, PngImageFile) and image.default_image:
        _skip_default_image(image)
    image.load()
    # Chromium turns JPEG, PNG and AVIF files upright, but not WebP.
    shown = image if image.format == "WEBP" else upright(image)
    largest = _largest(shown) if shown.mode in _DEEP_MODES else None
    rgb = np.empty((shown.height, shown.width, 3), dtype=np.uint8)
    for top, band in _bands(shown):
        pixels = rgb[top : top + band.height]
        if largest is None:
            pixels[:] = np.asarray(_on_white(band).convert("RGB"))
        else:
            pixels[:] = _eight_bits(band, largest)[..., None]
    return rgb


def _skip_default_image(image: PngImageFile) -> None:
    """Go to the first frame of an APNG from what is shown only where nobody knows animations."""
    image.seek(1)
    if image.info.get("bbox") != (0, 0, *image.size):
        raise ValueError("its animation begins with a part of a picture: store one frame as PNG")
    image.blend_op = Blend.OP_SOURCE  # the canvas is empty, but Pillow has the default image there


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut an image, as each step here would need several times the memory of the whole of it."""
    for top in range(0, image.height, _BAND_ROWS):
        below = min(top + _BAND_ROWS, image.height)
        yield top, image.crop((0, top, image.width, below))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)


def _largest(deep: Image.Image) -> float:
    """Return what becomes 255: the end of the bits in use, which floating point does not have."""
    largest = max(
        float(np.fmax.reduce(_values(band), axis=None, initial=0)) for _, band in _bands(deep)
    )
    if deep.mode == "F":
        return largest or 1.0
    return 2.0 ** max(8, int(largest).bit_length()) - 1


def _eight_bits(deep: Image.Image, largest: float) -> NDArray[np.uint8]:
    """Scale non-negative values to 0–255; what is transparent is white."""
    shares = np.nan_to_num(np.clip(_values(deep) / largest, 0, 1), copy=False, nan=1.0)
    return (shares * 255 + 0.5).astype(np.uint8)


def _values(deep: Image.Image) -> NDArray[np.float32]:
    """Return finite values, and NaN where the file calls its value transparent."""
    values = np.asarray(deep).astype(np.float32)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    values[values == deep.info.get("transparency", np.nan)] = np.nan
    return values
