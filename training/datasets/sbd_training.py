"""SBD's training images, as RITM and the authors use them: every object, ragged ones left out."""

from pathlib import Path

import numpy as np

from training.datasets.sample import AnnotatedImage
from training.datasets.sbd import SBDFiles

# Below this share of its bounding box, an outline is a few scattered pixels rather than an object.
_LEAST_FILL = 0.08


class SBDImages:
    """The images of `train.txt`, each with all its objects.

    Args:
        root: see `SBDFiles`; the list is the one RITM distributes (8,498 images).

    Raises:
        DatasetError: if SBD is missing or half-unpacked.
    """

    def __init__(self, root: Path) -> None:
        self._files = SBDFiles(root, "train")

    def __len__(self) -> int:
        return len(self._files.names)

    @property
    def names(self) -> list[str]:
        """The name of each image."""
        return list(self._files.names)

    def __getitem__(self, index: int) -> AnnotatedImage:
        name = self._files.names[index]
        ids = self._files.instances(name)
        for instance in np.unique(ids[ids > 0]):
            mask = ids == instance
            if _fill(mask) < _LEAST_FILL:
                ids[mask] = 0
        objects = tuple((0, int(i)) for i in np.unique(ids) if i > 0)
        return AnnotatedImage(name, self._files.image(name), ids[:, :, None], objects)


def _fill(mask: np.ndarray) -> float:
    """Return the share of its bounding box that the mask covers."""
    rows, columns = np.nonzero(mask)
    return float(len(rows) / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))
