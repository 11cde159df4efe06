"""A folder, or a .zip of one, with `images/` and `masks/` of the same names.

Masks are single-channel PNGs of instance ids 1…N with 0 for background. In 8-bit masks 255 means
"ignore"; masks of fewer or more bits have no such value.
"""

import functools
import io
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from training.datasets.image_files import names_by_stem
from training.datasets.sample import IGNORE, AnnotatedImage
from training.datasets.shown_pixels import shown_pixels
from training.errors import DatasetError

_IGNORE_IN_8_BIT = 255
_PNG = b"\x89PNG"
# Pillow scales grey of 2 and 4 bits to 0–255. Bytes 24 and 25 hold bits and colour type, 0 is grey.
_GREY_STEPS = {b"\2\0": 85, b"\4\0": 17}
_LAYOUT = "expected images/<name>.(jpg|png|webp|bmp|tif) and masks/<name>.png with instance ids"
# Sixteen threads that read one archive at the same time have been seen to get wrong bytes.
_READING = threading.Lock()
_MASKS_LOOKED_AT = 20
_FEWEST_SHADES = 5  # what a light blur makes of a rectangle
_LOSSY = {".jpeg", ".jpg", ".webp"}

Root = Path | zipfile.Path


class ImageFolder:
    """Training data set over images and instance-id masks.

    Args:
        path: the folder or .zip; its content may sit below one folder of its own.

    Raises:
        DatasetError: when the folder, an image, or a mask is missing, when it holds several such
            folders or several files of one name, or when the masks hold no ids: stored with loss,
            with soft edges, or objects marked with 255.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        root = _opened(self.path)
        images, masks = _names(root / "images"), _names(root / "masks")
        for kind, missing in (
            ("mask", [name for stem, name in images.items() if stem not in masks]),
            ("image", [name for stem, name in masks.items() if stem not in images]),
        ):
            if missing:
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise DatasetError(f"{self.path}: no {kind} for {missing[0]}{more}; {_LAYOUT}")
        if not images:
            raise DatasetError(f"{self.path}: no image; {_LAYOUT}")
        for name in masks.values():
            if Path(name).suffix.lower() in _LOSSY:
                raise DatasetError(
                    f"{self.path}: the mask {name} may be stored with loss, which changes its"
                    f" ids and invents objects: make it a PNG from its source; {_LAYOUT}"
                )
        self._pairs = [(name, masks[stem]) for stem, name in images.items()]
        self._refuse_masks_without_ids(root)

    def __len__(self) -> int:
        return len(self._pairs)

    def _refuse_masks_without_ids(self, root: Root) -> None:
        """Look at a few masks, spread over all: 0 and 255 mark objects elsewhere, not here.

        Where these hold nothing else, look at the others until one does.
        """
        masks = [root / "masks" / name for _, name in self._pairs]
        step = -(-len(masks) // _MASKS_LOOKED_AT)
        seen = set[int]().union(*map(_hard_ids, masks[::step]))
        if IGNORE not in seen or seen - {0, IGNORE}:
            return
        others = (mask for number, mask in enumerate(masks) if number % step)
        if all(_hard_ids(mask) <= {0, IGNORE} for mask in others):
            raise DatasetError(
                f'{self.path}: the masks hold 0 and 255 alone, and 255 means "ignore" here: number '
                "each image's objects from 1"
            )

    def __getitem__(self, index: int) -> AnnotatedImage:
        image_name, mask_name = self._pairs[index]
        root = _opened(self.path)
        image_file, mask_file = root / "images" / image_name, root / "masks" / mask_name
        image = decode_image(_content(image_file), str(image_file))
        ids = decode_instance_ids(_content(mask_file), str(mask_file))
        if ids.shape != image.shape[:2]:
            raise DatasetError(
                f"{self.path}: image and mask of {image_name} differ in height and width: "
                f"{image.shape[:2]} and {ids.shape}"
            )
        objects = tuple((0, int(i)) for i in np.unique(ids) if i > 0)
        return AnnotatedImage(Path(image_name).stem, image, ids[:, :, None], objects)


def decode_image(content: bytes, name: str) -> np.ndarray:
    """Return an encoded image as it is shown and served, (H, W, 3) uint8 RGB.

    Raises:
        DatasetError: if it is damaged.
    """
    return _decoded(content, name, shown_pixels)


def decode_instance_ids(content: bytes, name: str) -> np.ndarray:
    """Return an encoded mask as (H, W) int16 or int32 instance ids, ignored pixels -1.

    Raises:
        DatasetError: if it is damaged or has several channels.
    """
    ids = _decoded(content, name, np.array)
    if ids.ndim != 2:
        raise DatasetError(f"{name} has {ids.shape[2]} channels; {_LAYOUT}")
    if ids.dtype not in (np.uint8, np.bool_):
        return ids.astype(np.int32)
    narrow = ids.astype(np.int16)
    if content.startswith(_PNG) and content[24:26] in _GREY_STEPS:
        return narrow // _GREY_STEPS[content[24:26]]
    narrow[narrow == _IGNORE_IN_8_BIT] = IGNORE
    return narrow


def has_soft_edges(ids: np.ndarray) -> bool:
    """Say whether a mask shows objects as 255, and shades between 0 and 255 along their outlines.

    Shades lie on a slope: most have a darker and a brighter neighbour, and none fills a square of
    3 x 3 pixels. The pixels of an object with an id of its own have neighbours of that id; one of
    a pixel or two in a border of 255 has no darker neighbour. Of synthetic masks that were
    blurred, resized, smoothed or compressed with loss, at least 60 % of the shades lie between
    others; of masks of ids at most 50 %, where objects of 2 x 2 pixels tile the whole image.

    Args:
        ids: (H, W) as `decode_instance_ids` returns them.
    """
    mask = np.where(ids == IGNORE, _IGNORE_IN_8_BIT, ids).astype(np.float32)
    shades = (mask > 0) & (mask < _IGNORE_IN_8_BIT)
    if not (ids == IGNORE).any() or len(np.unique(mask[shades])) < _FEWEST_SHADES:
        return False
    square = np.ones((3, 3), np.uint8)
    darkest, brightest = cv2.erode(mask, square), cv2.dilate(mask, square)
    between = (darkest < mask) & (mask < brightest)
    filled = darkest == brightest
    return bool(between[shades].mean() > 0.55 and filled[shades].mean() < 0.01)


def _hard_ids(mask: Root) -> set[int]:
    """Return the ids in a mask, which may not have soft edges."""
    ids = decode_instance_ids(_content(mask), str(mask))
    if has_soft_edges(ids):
        raise DatasetError(
            f"{mask} has soft edges, whose every shade would be an object: threshold it, and number"
            " the objects from 1"
        )
    return set(np.unique(ids).tolist())


def _opened(path: Path) -> Root:
    """Return the folder that holds `images` and `masks`, in the file system or in the archive."""
    if not path.exists():
        raise DatasetError(f"{path} does not exist; {_LAYOUT}, in a folder or a .zip")
    if path.is_dir():
        return _holder(path, path)
    try:
        # Forked workers must not share one file position, so every process opens its own.
        return _opened_archive(path, os.getpid())
    except zipfile.BadZipFile as error:
        raise DatasetError(f"{path} is damaged or no .zip: {error}") from error


@functools.lru_cache(maxsize=64)
def _opened_archive(path: Path, process: int) -> Root:
    return _holder(zipfile.Path(path), path)


def _holder(root: Root, path: Path) -> Root:
    if _fits(root):
        return root
    found = [entry for entry in root.iterdir() if _fits(entry)]
    if len(found) > 1:
        names = ", ".join(sorted(entry.name for entry in found))
        unpacked = "" if path.is_dir() else "unpack it and "
        raise DatasetError(f"{path} holds several data sets: {unpacked}name one of {names}")
    if not found:
        raise DatasetError(f"{path} has no images and masks folders; {_LAYOUT}")
    return found[0]


def _names(folder: Root) -> dict[str, str]:
    return names_by_stem((file.name for file in folder.iterdir()), folder)


def _fits(folder: Root) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _content(file: Root) -> bytes:
    try:
        with _READING:
            return file.read_bytes()
    # A damaged archive fails in many ways: zlib.error, BadZipFile, NotImplementedError, …
    except Exception as error:
        raise DatasetError(f"{file} cannot be read: {error}") from error


def _decoded(content: bytes, name: str, pixels: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    try:
        return pixels(Image.open(io.BytesIO(content)))
    except UnidentifiedImageError as error:
        raise DatasetError(f"{name} is damaged or no image") from error
    # Damaged files make decoders raise nearly anything; Pillow refuses huge ones by itself.
    except Exception as error:
        raise DatasetError(f"{name} is damaged or no image: {error}") from error
