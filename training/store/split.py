"""Which side of the split an image is on.

The side follows from the pixels alone: it never changes between runs, projects or machines, and
the same photo uploaded twice stays on one side. Nobody trains on a held-out image, ever, so any
version may be compared with any other on them.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

TRAINING = "training"
VALIDATION = "validation"
HELD_OUT = "held_out"

HELD_OUT_SHARE = 0.20  # judged by the gate
VALIDATION_SHARE = 0.10  # decides when a fine-tuning run stops


def image_hash(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an image's size and pixels, as hexadecimal digits.

    Args:
        image: (H, W, 3) uint8 RGB, upright.
    """
    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def split_of(content_hash: str) -> str:
    """Return the side of the image with this hash: `TRAINING`, `VALIDATION` or `HELD_OUT`."""
    position = int(content_hash[:8], 16) / 0x100000000
    if position < HELD_OUT_SHARE:
        return HELD_OUT
    return VALIDATION if position < HELD_OUT_SHARE + VALIDATION_SHARE else TRAINING
