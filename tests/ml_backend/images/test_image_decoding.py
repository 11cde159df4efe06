import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ml_backend.errors import TaskImageError
from ml_backend.images.image_decoding import decode
from training.datasets.image_folder import decode_image
from training.errors import DatasetError

LIMIT = 10_000_000
# Rows and columns differ, and so do all four corners.
PICTURE = np.zeros((16, 24, 3), np.uint8)
PICTURE[:8, :12], PICTURE[:8, 12:], PICTURE[8:, :12] = (200, 0, 0), (0, 160, 0), (0, 0, 240)


def encoded(image, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    options.setdefault("format", "PNG")
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_come_back_exactly(format):
    data = encoded(PICTURE, format=format, lossless=True)
    decoded = decode(data, LIMIT)
    np.testing.assert_array_equal(decoded, PICTURE)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "JPEG2000", "AVIF", "GIF"])
def test_lossy_formats_come_back_nearly(format):
    decoded = decode(encoded(PICTURE, format=format, quality=95), LIMIT)
    assert decoded.shape == PICTURE.shape
    assert np.abs(decoded[2:6, 2:10].astype(int) - PICTURE[2:6, 2:10]).max() < 30


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_every_exif_orientation_is_turned_upright(format, orientation):
    # How a camera held that way stores the scene, so that undoing it shows PICTURE.
    stored = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.swapaxes(0, 1),
        6: np.rot90(PICTURE, 1),
        7: PICTURE[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(PICTURE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    decoded = decode(encoded(image, format=format, exif=exif, **options), LIMIT)
    assert decoded.shape == PICTURE.shape
    assert np.abs(decoded.astype(int) - PICTURE).max() < 12


def exif_of_a_sideways_camera(*odd):
    """EXIF with orientation 6 and entries (tag, type, count, 4 bytes), as cameras write it."""
    entries = sorted([(0x0112, 3, 1, b"\6\0\0\0"), *odd])
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)


@pytest.mark.parametrize("tag", [0x0100, 0x0103, 0x0128, 0x0213])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_photo_whose_camera_wrote_a_number_as_text_is_still_turned(format, tag):
    exif = exif_of_a_sideways_camera((tag, 2, 2, b"2\0\0\0"))
    turned = np.ascontiguousarray(np.rot90(PICTURE, 1))
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    decoded = decode(encoded(turned, format=format, exif=exif, **options), LIMIT)
    assert np.abs(decoded.astype(int) - PICTURE).max() < 12


def test_a_photo_with_damaged_exif_is_shown_as_it_lies():
    data = encoded(PICTURE, format="JPEG", exif=b"Exif\0\0" + b"nonsense" * 9)
    assert decode(data, LIMIT).shape == PICTURE.shape


def test_an_orientation_in_webp_is_not_applied_as_chromium_does_not():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode(encoded(PICTURE, format="WEBP", exif=exif, lossless=True), LIMIT)
    np.testing.assert_array_equal(decoded, PICTURE)


def test_an_orientation_only_in_xmp_is_not_believed_as_browsers_do_not():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(PICTURE, format="JPEG", xmp=xmp)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6, "Pillow would believe it"
    assert decode(data, LIMIT).shape == PICTURE.shape


def exif_with_orientation_6(kind, count):
    """EXIF whose orientation is `count` values of a TIFF type."""
    value = struct.pack(">I" if kind == 4 else ">HH", *((6,) if kind == 4 else (6, 0)))
    entry = struct.pack(">HHI", 0x0112, kind, count) + value
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)


@pytest.mark.parametrize(("kind", "count"), [(4, 1), (3, 2)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_an_orientation_that_is_not_one_short_is_not_believed_as_chromium_does_not(
    format, kind, count
):
    data = encoded(PICTURE, format=format, exif=exif_with_orientation_6(kind, count))
    assert decode(data, LIMIT).shape == PICTURE.shape


def test_an_orientation_in_a_text_chunk_is_not_believed_as_chromium_does_not():
    exif = exif_with_orientation_6(3, 1)
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n", zip=True)
    data = encoded(PICTURE, pnginfo=chunks)
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6, "Pillow would believe it"
    np.testing.assert_array_equal(decode(data, LIMIT), PICTURE)


def test_an_orientation_in_xmp_behind_the_pixels_is_not_believed():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    content = b"iTXtXML:com.adobe.xmp" + bytes(5) + xmp
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    data = encoded(PICTURE)
    np.testing.assert_array_equal(decode(data[:-12] + chunk + data[-12:], LIMIT), PICTURE)


def test_grey():
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(decode(encoded(grey), LIMIT), np.stack([grey] * 3, axis=-1))


def test_one_bit():
    bits = Image.fromarray(PICTURE[..., 0] > 0)
    assert set(np.unique(decode(encoded(bits), LIMIT))) == {0, 255}


def test_palette():
    image = Image.fromarray(PICTURE).quantize(4)
    assert image.mode == "P"
    np.testing.assert_array_equal(decode(encoded(image), LIMIT), PICTURE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_shows_the_white_page(mode):
    image = Image.fromarray(PICTURE[..., 2]).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[0, 255]]), 12, axis=1).repeat(16, axis=0)))
    format = "TIFF" if mode == "PA" else "PNG"
    decoded = decode(encoded(image.convert(mode), format=format), LIMIT)
    assert (decoded[:, :12] == 255).all()
    np.testing.assert_array_equal(decoded[:, 12:, 0], PICTURE[:, 12:, 2])


def test_half_transparent_pixels_are_mixed_with_white():
    image = np.full((2, 2, 4), (100, 0, 0, 51), np.uint8)  # one fifth
    np.testing.assert_array_equal(decode(encoded(image), LIMIT)[0, 0], (224, 204, 204))


def test_a_transparent_palette_colour():
    image = Image.fromarray(np.uint8([[0, 1]]), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    decoded = decode(encoded(image, transparency=0), LIMIT)
    np.testing.assert_array_equal(decoded, [[[255, 255, 255], [40, 50, 60]]])


def test_a_transparent_colour_without_alpha():
    decoded = decode(encoded(PICTURE, transparency=(200, 0, 0)), LIMIT)
    assert (decoded[0, 0] == 255).all()
    np.testing.assert_array_equal(decoded[0, -1], PICTURE[0, -1])


@pytest.mark.parametrize("no_data", [0, 65535])
def test_a_transparent_value_of_sixteen_bits_is_white_and_says_nothing_of_the_others(no_data):
    deep = np.uint16([[no_data, 1000, 4095], [no_data] * 3])
    decoded = decode(encoded(deep, transparency=no_data), LIMIT)[..., 0]
    np.testing.assert_array_equal(decoded, [[255, 62, 255], [255] * 3])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format):
    image = Image.fromarray(PICTURE).convert("CMYK")
    decoded = decode(encoded(image, format=format, quality=100), LIMIT)
    assert np.abs(decoded[2:6, 2:10].astype(int) - PICTURE[2:6, 2:10]).max() < 30


def test_the_whole_range_of_sixteen_bits():
    deep = np.uint16([[0, 257, 128 * 257, 65535], [1000, 4095, 4096, 0]])
    decoded = decode(encoded(deep), LIMIT)
    np.testing.assert_array_equal(decoded[..., 0], np.round(deep / 257))
    assert (decoded[..., 0] == decoded[..., 2]).all()


def test_sixteen_bit_colour_png():
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in PICTURE)

    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", 24, 16, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode(png, LIMIT), PICTURE)


@pytest.mark.parametrize(
    ("format", "largest", "dtype"),
    [
        ("PNG", 255, np.uint16),
        ("PNG", 4095, np.uint16),
        ("TIFF", 255, np.uint16),
        ("TIFF", 4095, np.uint16),
        ("TIFF", 65535, np.uint16),
        ("TIFF", 2**20 - 1, np.int32),
        ("TIFF", 0.06, np.float32),
        ("TIFF", 1.0, np.float32),
        ("TIFF", 1.02, np.float32),
        ("TIFF", 10.0, np.float32),
        ("TIFF", 4095.0, np.float32),
    ],
)
def test_deep_grey_is_scaled_by_the_bits_in_use(format, largest, dtype):
    ramp = np.linspace(0, largest, 256).reshape(16, 16)
    decoded = decode(encoded(ramp.astype(dtype), format=format), LIMIT)
    assert np.abs(decoded[..., 1].astype(int) - np.arange(256).reshape(16, 16)).max() <= 1


def test_deep_tiff_with_holes_and_negative_values():
    values = np.float32([[np.nan, np.inf, -np.inf], [-3, 0.5, 1]])
    decoded = decode(encoded(values, format="TIFF"), LIMIT)[..., 0]
    np.testing.assert_array_equal(decoded, [[0, 0, 0], [0, 128, 255]])


def test_a_deep_tiff_without_a_positive_value_is_black():
    assert not decode(encoded(np.float32([[-2, -1]]), format="TIFF"), LIMIT).any()


def test_a_tiff_of_another_kind_is_not_called_something_else():
    _, of_doubles = cv2.imencode(".tiff", np.zeros((4, 4)))
    with pytest.raises(TaskImageError, match="not served: store it with 1 or 3 channels of 8 or"):
        decode(of_doubles.tobytes(), LIMIT)


@pytest.mark.parametrize(
    ("mode", "format"),
    [("RGBA", "PNG"), ("RGBA", "WEBP"), ("I;16", "PNG"), ("I;16", "TIFF"), ("CMYK", "JPEG")],
)
def test_a_network_is_trained_on_the_pixels_it_is_served(mode, format):
    values = np.random.default_rng(0).integers(0, 256, (16, 24, 4), np.uint8)
    deep = Image.fromarray(values[..., 0].astype(np.uint16) * 16)
    image = deep if mode == "I;16" else Image.fromarray(values).convert(mode)
    data = encoded(image, format=format, lossless=True)

    np.testing.assert_array_equal(decode_image(data, "a file"), decode(data, LIMIT))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_of_several(format):
    other = Image.fromarray(255 - PICTURE)
    options = {"save_all": True, "append_images": [other], "lossless": True, "format": format}
    decoded = decode(encoded(PICTURE, **options), LIMIT)
    assert np.abs(decoded.astype(int) - PICTURE).max() < 12


@pytest.mark.parametrize(
    ("channels", "dtype"),
    [((3,), np.uint8), ((4,), np.uint8), ((2,), np.uint8), ((), np.uint16)],
)
def test_an_animations_first_frame_is_not_the_picture_for_what_knows_no_animations(channels, dtype):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 24, *channels), dtype)
    other, first = map(Image.fromarray, pictures)
    options = {"save_all": True, "append_images": [first, other], "default_image": True}
    data = encoded(other, blend=PngImagePlugin.Blend.OP_OVER, **options)
    np.testing.assert_array_equal(decode(data, LIMIT), decode(encoded(first), LIMIT))
    np.testing.assert_array_equal(decode_image(data, "a file"), decode(data, LIMIT))


def test_an_animation_that_begins_with_a_part_of_a_picture_is_refused():
    frames = [Image.fromarray(PICTURE)] * 2
    data = encoded(PICTURE, save_all=True, append_images=frames, default_image=True)
    at = data.index(b"fcTL")
    control = data[at : at + 8] + struct.pack(">I", 12) + data[at + 12 : at + 30]
    data = data[:at] + control + struct.pack(">I", zlib.crc32(control)) + data[at + 34 :]
    with pytest.raises(TaskImageError, match="begins with a part of a picture"):
        decode(data, LIMIT)


def test_an_animation_without_its_frames_is_damaged():
    frames = [Image.fromarray(PICTURE)] * 2
    data = encoded(PICTURE, save_all=True, append_images=frames, default_image=True)
    without = data[: data.index(b"fcTL") - 4] + data[-12:]
    with pytest.raises(TaskImageError, match="the file is damaged"):
        decode(without, LIMIT)
    with pytest.raises(DatasetError, match="a file is damaged"):
        decode_image(without, "a file")


@pytest.mark.parametrize("missing", [1, 2, 3, 40])
def test_a_photo_whose_last_bytes_are_missing_is_seen_as_in_a_browser(missing):
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), format="JPEG")
    shown = decode(whole[:-missing], LIMIT)
    same = (shown == decode(whole, LIMIT)).all(axis=(1, 2))
    assert same[: len(same) // 2].all()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_without_a_tenth_is_refused_on_whichever_side_that_is(orientation):
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = encoded(noise, format="JPEG", exif=exif)
    with pytest.raises(TaskImageError, match="damaged"):
        decode(whole[: len(whole) * 87 // 100], LIMIT)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_a_truncated_file(format):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(noise, format=format)
    with pytest.raises(TaskImageError, match=r"damaged|not an image"):
        decode(data[: len(data) // 2], LIMIT)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_flipped_bytes_never_raise_anything_else(format):
    data = bytearray(encoded(PICTURE, format=format))
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 5):
            damaged[place] = rng.integers(0, 256)
        try:
            assert decode(bytes(damaged), LIMIT).shape[2] == 3
        except TaskImageError:
            continue


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>login</html>", "it is a web page"),
        (b"<?xml version='1.0'?><!DOCTYPE html><html>login</html>", "it is a web page"),
        (b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG or XML, which is not served: store"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", "looks like SVG"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(99), "looks like HEIC, which is not served"),
        (b"\x00\x00\x00\x18ftypmsf1" + bytes(99), "looks like HEIC, which is not served"),
        (b"\x00\x00\x00\x20ftypavif" + bytes(99), "the AVIF is damaged or has too long a side"),
        (bytes(128) + b"DICM" + bytes(99), "looks like DICOM"),
        (b"\x00\x00\x01\x00\x01\x00" + bytes(99), "looks like an icon"),
        (b"\xff\x0a" + bytes(99), "looks like JPEG XL"),
        (b"%PDF-1.7", "looks like PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "begins with 25 21 50 53"),
        (b"\x00\x01\x02", "begins with 00 01 02"),
    ],
)
def test_what_is_no_image(data, sentence):
    with pytest.raises(TaskImageError, match=sentence):
        decode(data, LIMIT)


def test_tall_deep_images_are_scaled_by_one_number():
    deep = np.linspace(0, 4095, 700 * 5).reshape(700, 5)
    decoded = decode(encoded(deep.astype(np.uint16), format="TIFF"), LIMIT)
    assert np.abs(decoded[..., 0] - deep / 4095 * 255).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_tall_images_are_the_same_everywhere(mode):
    # They are put on white band by band.
    pixels = np.random.default_rng(0).integers(0, 256, (700, 5, 4), np.uint8)
    image = Image.fromarray(pixels).convert("RGBA").quantize(64) if mode == "P" else None
    image = image or Image.fromarray(pixels).convert(mode)
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    expected = np.asarray(Image.alpha_composite(white, layered).convert("RGB"))
    np.testing.assert_array_equal(decode(encoded(image), LIMIT), expected)
