"""Reading image and mask files, with one sentence when something is missing."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from training.errors import DatasetError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def read_image(path: Path, flags: int) -> np.ndarray:
    """Return an image file as OpenCV decodes it with its flags, colours as BGR.

    Raises:
        DatasetError: if the file is not a readable image.
    """
    # Not cv2.imread: it prints a warning of its own and returns None for a missing file.
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(content, flags) if content.size else None
    except cv2.error as error:
        raise DatasetError(f"{path} cannot be decoded: {error.err}") from error
    if image is None:
        raise DatasetError(f"{path} is not a readable image; the file may be damaged")
    return image


def read_rgb(path: Path) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 RGB, turned upright if its Exif data says so.

    Raises:
        DatasetError: if the file is not a readable image.
    """
    return cv2.cvtColor(read_image(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_brightest_channel(path: Path) -> np.ndarray:
    """Return a mask file as (H, W) uint8, the maximum over its colour channels.

    The mask files of the benchmarks are grey, RGB or palette images that mean the same thing.

    Raises:
        DatasetError: if the file is not a readable image.
    """
    return read_image(path, cv2.IMREAD_COLOR).max(axis=2)


def require_folder(folder: Path, advice: str) -> Path:
    """Return the folder, which must exist.

    Args:
        folder: what a data set needs.
        advice: what was expected there and how to obtain it.

    Raises:
        DatasetError: if it is not a folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; {advice}")
    return folder


def names_by_stem(names: Iterable[str], folder: object) -> dict[str, str]:
    """Return the names of image files by name without suffix, sorted; hidden files are skipped.

    Args:
        names: of all files in a folder.
        folder: what to call it in an error.

    Raises:
        DatasetError: if two files differ in the suffix only.
    """
    found: dict[str, str] = {}
    for name in sorted(names):
        stem, suffix = Path(name).stem, Path(name).suffix
        # Such as ._a.png, which macOS writes beside a.png on disks and into archives of others.
        if name.startswith(".") or suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if stem in found:
            raise DatasetError(f"{folder} holds both {found[stem]} and {name}")
        found[stem] = name
    return found


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by name without suffix; see `names_by_stem`."""
    names = names_by_stem((path.name for path in folder.iterdir()), folder)
    return {stem: folder / name for stem, name in names.items()}


def paired_files(images: Path, masks: Path, advice: str) -> list[tuple[Path, Path]]:
    """Return the image and mask files that belong together, sorted by name.

    Raises:
        DatasetError: if a folder is missing or empty, or a file has no partner.
    """
    image_files = files_by_stem(require_folder(images, advice))
    mask_files = files_by_stem(require_folder(masks, advice))
    lonely = sorted(image_files.keys() ^ mask_files.keys())
    if lonely:
        raise DatasetError(
            f"{images} and {masks} do not belong together: {len(lonely)} files have no partner"
            f" of the same name (the first is {lonely[0]!r}), so the data set looks half-unpacked;"
            f" {advice}"
        )
    if not image_files:
        raise DatasetError(f"{images} holds no images; {advice}")
    return [(image_files[stem], mask_files[stem]) for stem in image_files]
