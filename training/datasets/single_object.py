"""Benchmarks of one object an image: a folder of images beside a folder of masks.

GrabCut (Rother et al. 2004) has 50 images, with a band of unknown pixels around each object;
Berkeley (McGuinness & O'Connor 2010) 100 objects on 96 photos of BSDS; DAVIS345 the frames of DAVIS
(Perazzi et al. 2016) that BRS chose (Jang & Kim 2019); COCO_MVal 800 objects of COCO's validation
images, ten a category (f-BRS 2020). All in the layout of RITM's release.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets.image_files import paired_files, read_brightest_channel, read_rgb
from training.datasets.sample import IGNORE, EvaluationSample
from training.errors import DatasetError

_UNKNOWN = 128


@dataclass(frozen=True)
class Layout:
    """Where such a benchmark keeps its files and what its masks mean.

    Attributes:
        images: name of the folder of images.
        masks: name of the folder of masks; a mask has the name of its image.
        to_target: from a mask's brightest channel, (H, W) uint8, to 1, 0 and -1 (H, W).
        published_size: number of objects of the release that published numbers are measured on.
        source: how to obtain it.
    """

    images: str
    masks: str
    to_target: Callable[[np.ndarray], np.ndarray]
    published_size: int
    source: str

    def advice(self, root: Path) -> str:
        """Return the half-sentence of errors: what was expected, and how to obtain it."""
        return (
            f"expected {self.published_size} images in {root / self.images} and as many masks"
            f" of the same names in {root / self.masks}; {self.source}"
        )


class SingleObjectImages:
    """An evaluation data set in such a layout; holds file names only."""

    def __init__(self, root: Path, layout: Layout) -> None:
        """List the files below `root`.

        Raises:
            DatasetError: if the data set is missing or half-unpacked.
        """
        self._layout = layout
        self._files = paired_files(root / layout.images, root / layout.masks, layout.advice(root))

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._files)

    def __getitem__(self, index: int) -> EvaluationSample:
        """Return one image with its object.

        Raises:
            DatasetError: if a file is damaged, or the mask has another size than the image or
                marks nothing.
        """
        image_path, mask_path = self._files[index]
        image = read_rgb(image_path)
        target = self._layout.to_target(read_brightest_channel(mask_path)).astype(np.int8)
        if target.shape != image.shape[:2]:
            raise DatasetError(
                f"{mask_path} is {target.shape} (height, width), but its image {image.shape[:2]}"
            )
        if not (target == 1).any():
            raise DatasetError(f"{mask_path} marks no object, as an 8-bit mask is read")
        return EvaluationSample(name=image_path.stem, image=image, target=target)


def object_beyond_unknown(mask: np.ndarray) -> np.ndarray:
    """Return 1 above grey 128, -1 at 128 and 0 below: the reading of RITM's evaluation."""
    target = (mask > _UNKNOWN).astype(np.int8)
    target[mask == _UNKNOWN] = IGNORE
    return target


def anything_bright(mask: np.ndarray) -> np.ndarray:
    """Return 1 where any channel is above zero, else 0: all moving objects count as one."""
    return (mask > 0).astype(np.int8)


def _source(archive: str) -> str:
    return f"{archive} is linked from the README of RITM (SamsungLabs on GitHub)"


LAYOUTS = {
    "GrabCut": Layout("data_GT", "boundary_GT", object_beyond_unknown, 50, _source("GrabCut.zip")),
    "Berkeley": Layout("images", "masks", object_beyond_unknown, 100, _source("Berkeley.zip")),
    "DAVIS": Layout("img", "gt", anything_bright, 345, _source("DAVIS.zip")),
    "COCO_MVal": Layout("img", "gt", anything_bright, 800, _source("COCO_MVal.zip")),
}
