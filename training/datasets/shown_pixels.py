"""An opened image → the pixels a browser would show of it, as upright RGB.

Masks must fit what the annotator sees, and a network must be trained on what it is served, so
orientation and transparency follow the browser. What no browser shows (TIFF) follows the same rules
where they apply.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.datasets.upright import upright

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_BAND_ROWS = 256


def shown_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the first frame of an image as it is shown on a white page.

    * EXIF orientation 1–8 is applied where browsers apply it, so the result has the size that the
      browser calls natural.
    * Transparent pixels are mixed with white, the page they are shown on.
    * 16-bit PNGs are scaled by 1/257, as browsers do. Other deep images (16 or 32 bits or floating
      point, as microscopes write them) by the number of bits their largest value needs, so that
      12-bit values in a 16-bit file are not nearly black.

    Args:
        image: as Pillow opened it; loaded here unless it is already.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        Exception: nearly any, from Pillow, if the file is damaged and was not loaded before.
    """
    # Pillow turns a TIFF while it loads it, and would believe an orientation in XMP as well.
    for key in ("xmp", "XML:com.adobe.xmp", "Raw profile type xmp"):
        image.info.pop(key, None)
    image.load()
    # Chromium turns JPEG, PNG and AVIF files upright, but not WebP.
    shown = image if image.format == "WEBP" else upright(image)
    if shown.mode in _DEEP_MODES:
        shown = Image.fromarray(_eight_bits(np.asarray(shown), image.format == "PNG"))
    rgb = np.empty((shown.height, shown.width, 3), dtype=np.uint8)
    # Band by band: each of these steps would need as much memory as the whole image.
    for top in range(0, shown.height, _BAND_ROWS):
        band = shown.crop((0, top, shown.width, min(top + _BAND_ROWS, shown.height)))
        rgb[top : top + band.height] = np.asarray(_on_white(band).convert("RGB"))
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)


def _eight_bits(deep: NDArray[Any], whole_range: bool) -> NDArray[np.uint8]:
    """Scale non-negative values to 0–255; by the whole 16 bits, or by as many as are in use."""
    values = np.nan_to_num(deep.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(values.max())
    if whole_range:
        largest = 65535.0
    elif largest <= 1.0 and deep.dtype.kind == "f":
        largest = 1.0
    else:
        largest = 2.0 ** max(8, int(largest).bit_length()) - 1
    return (np.clip(values / largest, 0, 1) * 255 + 0.5).astype(np.uint8)
