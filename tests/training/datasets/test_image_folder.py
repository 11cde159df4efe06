"""Folders and archives of images with instance ids."""

import shutil
import struct
import zipfile
from pathlib import Path
from zlib import compress, crc32

import cv2
import numpy as np
import pytest
from PIL import Image

from training.datasets.image_folder import ImageFolder, has_soft_edges
from training.errors import DatasetError


def test_ids_objects_and_ignored_pixels(folder):
    dataset = ImageFolder(folder)

    sample = dataset[1]

    assert len(dataset) == 2
    assert sample.name == "b"
    assert sample.image.shape == (30, 40, 3)
    assert sample.layers.shape == (30, 40, 1)
    assert sample.objects == ((0, 1), (0, 7))
    assert (sample.layers[0] == -1).all()
    assert (sample.layers[:, :, 0] == 7).sum() == 100


@pytest.mark.parametrize("inner", ["", "photos/"])
def test_an_archive_holds_the_same(folder, tmp_path, inner):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, inner + file.relative_to(folder).as_posix())

    for packed, plain in zip(ImageFolder(path), ImageFolder(folder), strict=True):
        np.testing.assert_array_equal(packed.image, plain.image)
        np.testing.assert_array_equal(packed.layers, plain.layers)


def test_ids_of_16_bits_have_no_ignored_value(folder):
    ids = np.zeros((30, 40), np.uint16)
    ids[0, 0], ids[1, 1] = 255, 40_000
    cv2.imwrite(str(folder / "masks" / "a.png"), ids)

    assert ImageFolder(folder)[0].objects == ((0, 255), (0, 40_000))


def grey_png(ids, bits):
    """Encode (H, W) ids in so few bits a pixel, which OpenCV and Pillow do not."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    height, width = ids.shape
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    planes = ids[:, :, None] >> np.arange(bits)[::-1] & 1
    rows = np.packbits(planes.reshape(height, -1), axis=1)
    pixels = compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(("bits", "largest"), [(1, 1), (2, 3), (4, 15), (8, 254)])
def test_ids_of_few_bits_are_those_that_were_drawn(folder, bits, largest):
    ids = np.arange(30 * 40).reshape(30, 40) % (largest + 1)
    (folder / "masks" / "a.png").write_bytes(grey_png(ids, bits))

    sample = ImageFolder(folder)[0]

    np.testing.assert_array_equal(sample.layers[:, :, 0], ids)
    assert sample.objects == tuple((0, number) for number in range(1, largest + 1))


def test_a_photo_lying_on_its_side_is_turned_upright(folder):
    image = Image.new("RGB", (30, 40), (200, 10, 10))
    # orientation 6, and a resolution unit written as text, as some cameras do
    tags = struct.pack("<HHI4s", 0x0112, 3, 1, b"\6") + struct.pack("<HHI4s", 0x0128, 2, 2, b"2")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + tags + bytes(4)
    image.save(folder / "images" / "a.jpg", exif=exif)
    (folder / "images" / "a.webp").unlink()

    assert ImageFolder(folder)[0].image.shape == (30, 40, 3)


def test_a_deep_grey_image_keeps_its_shades(folder):
    deep = np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16)
    (folder / "images" / "a.webp").unlink()
    cv2.imwrite(str(folder / "images" / "a.png"), deep)

    image = ImageFolder(folder)[0].image

    np.testing.assert_array_equal(image, np.round(deep / 257)[..., None].repeat(3, axis=2))


def test_what_is_missing_is_said(folder, tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        ImageFolder(tmp_path / "nowhere")
    (folder / "masks" / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"no mask for a\.webp"):
        ImageFolder(folder)
    shutil.rmtree(folder / "masks")
    with pytest.raises(DatasetError, match=r"expected images/<name>"):
        ImageFolder(folder)


@pytest.mark.parametrize("archived", [False, True])
def test_hidden_files_such_as_those_of_macos_are_skipped(folder, tmp_path, archived):
    for name in ("images/._a.webp", "masks/._a.png", "masks/._c.png", "images/.b.jpg"):
        (folder / name).write_bytes(b"Mac OS X")
    path = folder
    if archived:
        path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))

    assert [sample.name for sample in (ImageFolder(path)[i] for i in range(2))] == ["a", "b"]
    assert len(ImageFolder(path)) == 2


@pytest.mark.parametrize("name", ["images/a.jpg", "masks/a.bmp"])
@pytest.mark.parametrize("archived", [False, True])
def test_two_files_of_one_name_are_refused(folder, tmp_path, name, archived):
    cv2.imwrite(str(folder / name), np.zeros((30, 40), np.uint8))
    path = folder
    if archived:
        path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))

    with pytest.raises(DatasetError, match=r"(images|masks)/? holds both a\.\w+ and a\.\w+"):
        ImageFolder(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp"])
def test_masks_that_are_stored_with_loss_are_refused(folder, name):
    (folder / "masks" / "a.png").unlink()
    cv2.imwrite(str(folder / "masks" / name), np.zeros((30, 40), np.uint8))

    with pytest.raises(DatasetError, match=rf"mask {name} may be stored with loss.* make it a PNG"):
        ImageFolder(folder)


@pytest.mark.parametrize("archived", [False, True])
def test_a_folder_of_several_data_sets_is_refused(folder, tmp_path, archived):
    shutil.copytree(folder, tmp_path / "others")
    path = tmp_path
    if archived:
        path = tmp_path / "both.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in [*folder.rglob("*.*"), *(tmp_path / "others").rglob("*.*")]:
                archive.write(file, file.relative_to(tmp_path).as_posix())

    what_to_do = "unpack it and name" if archived else "name"
    with pytest.raises(
        DatasetError, match=f"several data sets: {what_to_do} one of others, photos"
    ):
        ImageFolder(path)


def test_damaged_files_are_named(folder, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK half")
    with pytest.raises(DatasetError, match=r"broken\.zip is damaged"):
        ImageFolder(tmp_path / "broken.zip")
    (folder / "images" / "a.webp").write_bytes(b"half")
    with pytest.raises(DatasetError, match=r"photos/images/a\.webp is damaged"):
        ImageFolder(folder)[0]
    (folder / "masks" / "a.png").write_bytes(b"half")
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    with pytest.raises(DatasetError, match=r"packed\.zip/masks/a\.png is damaged"):
        ImageFolder(tmp_path / "packed.zip")


def test_a_damaged_member_of_an_archive_is_named(folder, tmp_path):
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    content = bytearray(packed.read_bytes())
    start = content.find(b"images/b.webp") + 40
    content[start : start + 20] = bytes(255 - value for value in content[start : start + 20])
    packed.write_bytes(content)
    with pytest.raises(DatasetError, match=r"packed\.zip/images/b\.webp (cannot be read|is dama)"):
        ImageFolder(packed)[1]


def test_what_is_no_file_is_named(folder):
    (folder / "images" / "b.webp").unlink()
    (folder / "images" / "b.webp").symlink_to("nowhere")
    with pytest.raises(DatasetError, match=r"images/b\.webp cannot be read"):
        ImageFolder(folder)[1]


def test_an_empty_file_is_named(folder):
    (folder / "images" / "b.webp").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"images/b\.webp is damaged or no image$"):
        ImageFolder(folder)[1]


def test_an_image_too_large_for_pillow_is_named(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DatasetError, match=r"masks/a\.png is damaged or no image: .*exceeds"):
        ImageFolder(folder)[0]


def test_colour_masks_and_other_sizes_are_refused(folder):
    cv2.imwrite(str(folder / "masks" / "b.png"), np.zeros((30, 41), np.uint8))
    with pytest.raises(DatasetError, match="differ in height and width"):
        ImageFolder(folder)[1]
    cv2.imwrite(str(folder / "masks" / "a.png"), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(DatasetError, match="3 channels"):
        ImageFolder(folder)


@pytest.mark.parametrize(("kind", "gone"), [("mask", "masks/a.png"), ("image", "images/a.webp")])
def test_a_folder_that_is_half_there_is_refused(folder, kind, gone):
    (folder / gone).unlink()
    with pytest.raises(DatasetError, match=rf"no {kind} for a\.(webp|png); expected images"):
        ImageFolder(folder)


def drawn():
    mask = np.zeros((300, 400), np.uint8)
    cv2.circle(mask, (150, 150), 80, 255, -1)
    cv2.rectangle(mask, (260, 40), (350, 200), 255, -1)
    return mask


def smoothed():
    mask = np.zeros((300, 400), np.uint8)
    cv2.circle(mask, (150, 150), 80, 255, -1, cv2.LINE_AA)
    return mask


def compressed(quality):
    _, content = cv2.imencode(".jpg", drawn(), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)


SOFT = {
    **{f"blurred {size}": cv2.GaussianBlur(drawn(), (size, size), 0) for size in (3, 9, 51)},
    "a rectangle": cv2.GaussianBlur(np.pad(np.full((40, 60), 255, np.uint8), 9), (3, 3), 0),
    "smaller": cv2.resize(drawn(), (173, 131), interpolation=cv2.INTER_AREA),
    "larger": cv2.resize(drawn(), (811, 603), interpolation=cv2.INTER_CUBIC),
    "smoothed": smoothed(),
    **{f"compressed {quality}": compressed(quality) for quality in (50, 75, 90, 95)},
}


@pytest.mark.parametrize("soft", SOFT)
def test_masks_with_soft_edges_are_refused(folder, soft):
    for name in ("a", "b"):
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), SOFT[soft])
    with pytest.raises(DatasetError, match=r"masks/a\.png has soft edges.* threshold it"):
        ImageFolder(folder)


def ringed(largest, width):
    """Objects up to so many pixels a side, each in a border of 255."""
    rng = np.random.default_rng(0)
    ids = np.zeros((300, 400), np.int16)
    for instance in range(1, 200):
        y, x, side = *rng.integers(5, 280, 2), rng.integers(1, largest + 1)
        ids[y - width : y + side + width, x - width : x + side + width] = -1
        ids[y : y + side, x : x + side] = instance
    return ids


def tiled(side, order):
    ids = np.array(order, np.int16).reshape(10, 25).repeat(side, 0).repeat(side, 1)
    return np.pad(ids, 5, constant_values=-1)


def wires():
    ids = np.zeros((300, 400), np.int16)
    for instance in range(1, 20):
        ends = (20 * instance, 10), (18 * instance + 8, 290)
        cv2.line(ids, *ends, -1, 4)
        cv2.line(ids, *ends, instance, 1)
    return ids


SHUFFLED = np.random.default_rng(1).permutation(np.arange(1, 251))
SANE = {
    **{f"ringed {large} {width}": ringed(large, width) for large in (1, 2, 9) for width in (1, 3)},
    **{f"tiled {side}": tiled(side, range(1, 251)) for side in (2, 3, 8)},
    **{f"shuffled {side}": tiled(side, SHUFFLED) for side in (2, 3, 8)},
    "wires": wires(),
}


@pytest.mark.parametrize("sane", SANE)
def test_masks_of_many_small_objects_beside_ignored_pixels_are_not(sane):
    assert not has_soft_edges(SANE[sane])


def test_masks_of_0_and_255_are_refused_with_what_to_do(folder):
    for mask in (folder / "masks").iterdir():
        ids = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(mask), np.where(ids > 0, 255, 0).astype(np.uint8))
    with pytest.raises(DatasetError, match=r"255 means .* number each image's objects from 1"):
        ImageFolder(folder)


def test_void_areas_in_the_masks_looked_at_first_are_no_reason_to_refuse_the_others(folder):
    void = np.zeros((30, 40), np.uint8)
    void[:2] = 255
    drawn = (folder / "masks" / "a.png").read_bytes()
    for number in range(60):
        shutil.copy(folder / "images" / "a.webp", folder / "images" / f"{number:02}.webp")
        cv2.imwrite(str(folder / "masks" / f"{number:02}.png"), void)
    for name in ("a", "b"):
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), void)
    with pytest.raises(DatasetError, match="the masks hold 0 and 255 alone"):
        ImageFolder(folder)

    (folder / "masks" / "59.png").write_bytes(drawn)

    assert ImageFolder(folder)[59].objects == ((0, 1), (0, 7))
