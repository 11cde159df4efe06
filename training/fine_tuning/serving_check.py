"""The last question before a version goes live: does it load from disk, and does it answer?"""

from pathlib import Path

import numpy as np

from icmformer import Click, Predictor, load_checkpoint
from icmformer.specialised import generalist_of, specialist_of
from training.errors import VersionError

_SIDE = 96


def check_serves(checkpoint: Path) -> None:
    """Load a checkpoint as a serving process would, and click twice with each of its networks.

    Raises:
        CheckpointError: if it cannot be loaded.
        VersionError: if what it answers is no mask.
    """
    network = load_checkpoint(checkpoint)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    disc = (rows - 40) ** 2 + (columns - 40) ** 2 < 20**2
    image = np.where(disc[:, :, None], (200, 60, 40), (60, 90, 130)).astype(np.uint8)
    clicks = [Click(40.5, 40.5, True), Click(80.5, 80.5, False)]
    for answering in {network, generalist_of(network), specialist_of(network)}:
        answer = Predictor(answering).segment(image, clicks).probability
        if answer.shape != image.shape[:2] or not np.isfinite(answer).all():
            raise VersionError(f"{checkpoint} does not answer a click with a mask")
