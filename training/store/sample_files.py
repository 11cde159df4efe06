"""Accepted images and masks as lossless files, named by their pixels."""

import hashlib
from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from training.errors import StoredFileError
from training.store.split import image_hash
from training.store.stored_files import StoredFiles, key_of


class SampleFiles:
    """Writes and reads the pixels of samples; what is read is what was written, or an error.

    Writers may be told which hashes are those of files that are there, to leave these alone.
    """

    def __init__(self, files: StoredFiles) -> None:
        self._files = files

    def write_image(self, image: NDArray[np.uint8], there: Collection[str] = ()) -> str:
        """Store an image, (H, W, 3) uint8 RGB, upright; return the hash it is read with."""
        content_hash = image_hash(image)
        if content_hash not in there:
            pixels = _png(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            self._files.write(image_key(content_hash), pixels)
        return content_hash

    def write_mask(self, mask: NDArray[np.bool_], there: Collection[str] = ()) -> str:
        """Store a mask, (H, W) bool; return the hash it is read with."""
        content_hash = _mask_hash(mask)
        if content_hash not in there:
            pixels = _png(mask.astype(np.uint8) * 255, cv2.IMWRITE_PNG_BILEVEL, 1)
            self._files.write(mask_key(content_hash), pixels)
        return content_hash

    def read_image(self, content_hash: str) -> NDArray[np.uint8]:
        """Return an image, (H, W, 3) uint8 RGB.

        Raises:
            StoredFileError: if the file is missing or damaged.
        """
        key = image_key(content_hash)
        image = cv2.cvtColor(self._decoded(key, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        pixels = np.asarray(image, dtype=np.uint8)
        if image_hash(pixels) != content_hash:
            raise StoredFileError(f"the stored image {key} is damaged")
        return pixels

    def read_mask(self, content_hash: str) -> NDArray[np.bool_]:
        """Return a mask, (H, W) bool.

        Raises:
            StoredFileError: if the file is missing or damaged.
        """
        key = mask_key(content_hash)
        mask: NDArray[np.bool_] = self._decoded(key, cv2.IMREAD_GRAYSCALE) > 127
        if _mask_hash(mask) != content_hash:
            raise StoredFileError(f"the stored mask {key} is damaged")
        return mask

    def _decoded(self, key: str, flags: int) -> cv2.typing.MatLike:
        content = self._files.read(key)
        decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags) if content else None
        if decoded is None:
            raise StoredFileError(f"the stored file {key} is damaged: it is no image")
        return decoded


def image_key(content_hash: str) -> str:
    """Return under which key an image with this hash is stored."""
    return key_of("images", ".png", content_hash)


def mask_key(content_hash: str) -> str:
    """Return under which key a mask with this hash is stored."""
    return key_of("masks", ".png", content_hash)


def _mask_hash(mask: NDArray[np.bool_]) -> str:
    digest = hashlib.sha256(f"{mask.shape[0]}x{mask.shape[1]} ".encode())
    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()


def _png(pixels: cv2.typing.MatLike, *options: int) -> bytes:
    # Level 1: a photo is written while an annotator's message waits; the smallest file costs
    # seconds.
    options = (cv2.IMWRITE_PNG_COMPRESSION, 1, *options)
    return cv2.imencode(".png", pixels, options)[1].tobytes()
