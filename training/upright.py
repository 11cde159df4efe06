"""A photo as the camera was held, by the one EXIF tag that says so."""

from PIL import ExifTags, Image

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
    """Return the image turned as its EXIF orientation says.

    Pillow's `exif_transpose` would also write the other tags anew, and fails at every photo with a
    tag of the wrong type, of which there are many.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    # Damaged EXIF makes Pillow raise nearly anything; a viewer shows such a photo as it lies.
    except Exception:
        return image
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
