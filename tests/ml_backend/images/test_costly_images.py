"""Files that would take far more time or memory than they look like."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from ml_backend.errors import TaskImageError
from ml_backend.images import image_decoding
from ml_backend.images.image_decoding import decode

LIMIT = 10_000_000
PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


def encoded(image, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, **{"format": "PNG"} | options)
    return buffer.getvalue()


def test_a_decompression_bomb_is_refused_before_it_is_unpacked():
    # 400 megapixels of nothing; the file's few bytes say how large it would be.
    data = bytearray(encoded(np.zeros((1, 1), np.uint8)))
    data[16:24] = struct.pack(">II", 20_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(TaskImageError, match="20000x20000 pixels, more than the 10 megapixels"):
        decode(bytes(data), LIMIT)


BMP_OF_RUNS = (
    b"BM"
    + struct.pack("<IHHI", 62 + 6, 0, 0, 62)
    + struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 8, 1, 6, 0, 0, 2, 0)
    + bytes(8)
    + b"\2\1\0\0\0\1"
)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("PPM", b"P1 2 2 1 0 0 1"),
        ("PPM", b"P2 2 2 255 1 2 3 4"),
        ("PPM", b"P3 2 2 255" + b" 7" * 12),
        ("PPM", b"P6 2 2 254 " + bytes(12)),
        ("BMP", BMP_OF_RUNS),
    ],
)
def test_what_would_take_minutes_to_decode_is_refused_however_small(kind, data):
    assert Image.open(io.BytesIO(data)).convert("RGB").width == 2, "Pillow would decode it"
    with pytest.raises(TaskImageError, match=f"{kind} takes too long .* store it as PNG or JPEG"):
        decode(data, LIMIT)


def test_a_jpeg_2000_may_have_fewer_pixels_as_it_takes_more_memory(monkeypatch):
    monkeypatch.setattr(image_decoding, "MOST_PIXELS_OF_JPEG_2000", 300)
    with pytest.raises(TaskImageError, match=r"24x16 .* 0\.0003 megapixels allowed of a JPEG 2000"):
        decode(encoded(PICTURE, format="JPEG2000"), LIMIT)
    assert decode(encoded(PICTURE), LIMIT).shape == PICTURE.shape


@pytest.mark.parametrize(("dtype", "format"), [(np.float32, "TIFF"), (np.uint16, "PNG")])
def test_a_deep_image_takes_little_more_memory_than_its_pixels(dtype, format):
    data = encoded(np.zeros((2500, 2000), dtype), format=format)
    decode(data, LIMIT)
    tracemalloc.start()
    shown = decode(data, LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * shown.nbytes


def test_an_icon_is_not_unpacked():
    # Pillow unpacks every picture of an icon while opening it, before its size is known.
    small = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(TaskImageError, match="an icon, which is not served"):
        decode(encoded(small, format="ICO"), LIMIT)


@pytest.mark.slow
def test_the_operators_limit_is_the_only_one():
    # Pillow alone would refuse above 179 megapixels, and warn above 89.
    image = Image.new("1", (18_000, 10_000))
    assert decode(encoded(image), 180_000_000).shape == (10_000, 18_000, 3)


def test_a_progressive_jpeg_of_very_many_scans_is_refused_as_each_visits_all_pixels():
    data = encoded(Image.new("L", (1000, 1000)), format="JPEG", progressive=True)
    assert decode(data, LIMIT).shape == (1000, 1000, 3)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data + 20_000 * b"\xff\xda other data", LIMIT).shape == (1000, 1000, 3)
    with pytest.raises(TaskImageError, match=r"10006 scans, .* as another JPEG"):
        decode(data[:-2] + 10_000 * last_scan + data[-2:], LIMIT)
