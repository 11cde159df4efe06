"""Pillow reads each part of a header by itself, however many a file has."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ml_backend.errors import TaskImageError
from ml_backend.images.image_decoding import decode
from tests.ml_backend.task_pictures import PICTURE, png

LIMIT = 1_000_000
REFUSED = "too many small parts, .* store it anew as PNG or JPEG"
RNG = np.random.default_rng(1)
NOISE = Image.fromarray(RNG.integers(0, 256, (300, 400, 3), np.uint8))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, content=b""):
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def with_chunks(chunks, *, behind=b"IHDR"):
    """Return a small PNG with chunks before or behind its pixels."""
    data = png()
    start = data.index(behind)
    end = start + 8 + struct.unpack(">I", data[start - 4 : start])[0]
    return data[:end] + chunks + data[end:]


def with_segments(segments):
    data = encoded(Image.fromarray(PICTURE), "JPEG")
    return data[:2] + segments + data[2:]


def with_extension(blocks):
    data = encoded(Image.new("P", (9, 6)), "GIF")
    start = data.index(b",")
    return data[:start] + b"!\xfe" + blocks + b"\0" + data[start:]


PROFILE = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(1 << 20), 9))
EXIF = b"\xff\xe1" + struct.pack(">H", 2 + 6 + 250) + b"Exif\0\0" + bytes(250)
ICC_PART = b"\xff\xe2" + struct.pack(">H", 2 + 14) + b"ICC_PROFILE\0\1\1"


@pytest.mark.parametrize(
    "data",
    [
        with_segments(b"\xff\xe5\0\2" * 10_000),
        with_segments(b"\xff\xdb\0\2" * 10_000),
        with_segments(b"\xff\xfe\0\2" * 10_000),
        with_segments(b"\xff" * 20_000),
        with_segments(ICC_PART * 10_000),
        with_segments(EXIF * 200),
        with_extension(b"\1a" * 10_000),
        with_chunks(chunk(b"prVt") * 10_000),
        with_chunks(chunk(b"prVt") * 10_000, behind=b"IDAT"),
        with_chunks(chunk(b"IDAT") * 10_000),
        with_chunks(chunk(b"tEXt", b"a\0b") * 10_000),
        with_chunks(PROFILE * 200),
        b"P6 #" + b"c" * 20_000 + b"\n1 1 255 \0\0\0",
    ],
    ids=[
        "segments", "tables", "comments", "padding", "parts of a profile", "Exif",
        "blocks of a comment", "chunks", "chunks at the end", "pixels in no chunk", "texts",
        "profiles", "a comment of letters",
    ],
)  # fmt: skip
def test_a_file_of_very_many_parts_is_refused(data):
    assert Image.open(io.BytesIO(data)).convert("RGB").width in (1, 9), "Pillow would decode it"
    with pytest.raises(TaskImageError, match=REFUSED):
        decode(data, LIMIT)


@given(st.integers(180, 70_000))
def test_the_pixels_of_a_png_may_come_in_chunks_of_any_usual_size(size):
    data = encoded(NOISE, "PNG")
    header = data[: 8 + 25]
    compressed = b"".join(
        data[at + 4 : at + 4 + struct.unpack(">I", data[at - 4 : at])[0]]
        for at in idat_places(data)
    )
    pieces = (compressed[at : at + size] for at in range(0, len(compressed), size))
    small = header + b"".join(chunk(b"IDAT", piece) for piece in pieces) + chunk(b"IEND")
    np.testing.assert_array_equal(decode(small, LIMIT), np.asarray(NOISE))


def idat_places(data):
    at = 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        if name == b"IDAT":
            yield at + 4
        at += 12 + length


def exif():
    tags = Image.Exif()
    tags[0x010E] = "a description " * 4000
    return tags.tobytes()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True, "exif": exif(), "icc_profile": bytes(600_000)}),
        ("MPO", {"save_all": True, "append_images": [NOISE] * 3, "exif": exif()}),
        ("GIF", {"comment": b"c" * 1_000_000}),
        ("PNG", {"icc_profile": bytes(600_000), "exif": exif()}),
        ("TIFF", {"tiffinfo": {278: 1}}),
        ("TIFF", {"strip_size": 1}),
        ("TIFF", {"tiffinfo": {278: 1}, "compression": "tiff_lzw"}),
        ("WEBP", {"icc_profile": bytes(600_000)}),
        ("AVIF", {"icc_profile": bytes(600_000)}),
        ("JPEG2000", {"tile_size": (16, 16)}),
        ("BMP", {}),
        ("PPM", {}),
    ],
)
def test_honest_files_are_far_from_the_limit(kind, options):
    image = NOISE.convert("P") if kind == "GIF" else NOISE
    data = encoded(image, kind, **options)
    assert decode(data, LIMIT).shape == (300, 400, 3)
