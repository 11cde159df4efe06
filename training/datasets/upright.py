"""A photo as the camera was held, by the one EXIF tag that says so."""

import struct

from PIL import ExifTags, Image

_SHORT = 3  # a type of TIFF 6.0
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """Return the image, which was loaded, turned as browsers turn it.

    They look at the EXIF block alone. Pillow's `getexif` also finds an orientation in XMP and in
    ImageMagick's text chunks, and believes one of any type: a mask would be made for a picture that
    nobody sees. (TIFF, which no browser shows, is turned by Pillow when it is loaded.)
    """
    turn = _TURNS.get(_orientation(image.info.get("exif", b"")))
    return image if turn is None else image.transpose(turn)


def _orientation(exif: bytes) -> int:
    """Return the orientation, 1 where none is readable or it is not a single 16-bit number."""
    directory = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(directory[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", directory, 4)
        (count,) = struct.unpack_from(f"{order}H", directory, start)
        for first in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, numbers, value = struct.unpack_from(f"{order}HHIH", directory, first)
            if tag == ExifTags.Base.Orientation:
                return int(value) if (kind, numbers) == (_SHORT, 1) else 1
    except struct.error:  # it ends too soon: a viewer shows such a photo as it lies
        pass
    return 1
