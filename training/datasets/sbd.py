"""SBD (Hariharan et al. 2011): PASCAL photos whose every object is outlined."""

from pathlib import Path

import numpy as np
import scipy.io

from training.datasets.image_files import read_rgb, require_folder
from training.datasets.sample import AnnotatedImage, EvaluationSample
from training.errors import DatasetError
from training.object_names import object_name

VALIDATION_OBJECTS = 6671
# Below this share of its bounding box, an outline is a few scattered pixels rather than an object.
_LEAST_FILL = 0.08
_SOURCE = (
    "benchmark.tgz is offered on the SBD page of Berkeley's computer vision group"
    " (Semantic Contours from Inverse Detectors); unpack it, and keep its folder"
    " benchmark_RELEASE/dataset, or move it here"
)
_PLACES = (".", "dataset", "benchmark_RELEASE/dataset")  # moved, in part, or as it was unpacked


class SBDFiles:
    """The files of one list (`train` or `val`) of SBD: names, images and instance maps."""

    def __init__(self, root: Path, split: str) -> None:
        """Read the list.

        Args:
            root: the folder with img/, inst/ and the lists, or the one in which benchmark.tgz, or
                what is in that, was unpacked.
            split: name of the list file without `.txt`.

        Raises:
            DatasetError: if SBD is missing or half-unpacked.
        """
        places = [root / place for place in _PLACES]
        self._folder = next((place for place in places if (place / "img").is_dir()), root)
        advice = f"expected img/*.jpg, inst/*.mat and {split}.txt in {self._folder}; {_SOURCE}"
        require_folder(self._folder / "img", advice)
        require_folder(self._folder / "inst", advice)
        names_file = self._folder / f"{split}.txt"
        if not names_file.is_file():
            raise DatasetError(f"there is no list {names_file}; {advice}")
        self.names = names_file.read_text(encoding="utf-8").split()
        missing = [name for name in self.names if not self._is_complete(name)]
        if missing:
            raise DatasetError(
                f"{len(missing)} of the {len(self.names)} images in {names_file} lack their"
                f" .jpg or .mat file (the first is {missing[0]!r}); {advice}"
            )

    def image(self, name: str) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB.

        Raises:
            DatasetError: if the file is damaged.
        """
        return read_rgb(self._folder / "img" / f"{name}.jpg")

    def instances(self, name: str) -> np.ndarray:
        """Return the instance map, (H, W) int32: 0 is background, objects count from 1.

        Raises:
            DatasetError: if the file is damaged.
        """
        path = self._folder / "inst" / f"{name}.mat"
        try:
            return scipy.io.loadmat(path)["GTinst"]["Segmentation"][0, 0].astype(np.int32)
        # A damaged file makes SciPy raise nearly anything, zlib's own error among others.
        except Exception as error:
            raise DatasetError(f"{path} is not an instance map of SBD: {error}") from error

    def _is_complete(self, name: str) -> bool:
        image = self._folder / "img" / f"{name}.jpg"
        return image.is_file() and (self._folder / "inst" / f"{name}.mat").is_file()


class SBDObjects:
    """Every object of SBD's validation images as a sample of its own (6,671 of them)."""

    def __init__(self, root: Path) -> None:
        """Read the list and count the objects, which takes some seconds for all of SBD.

        Raises:
            DatasetError: if SBD is missing or half-unpacked.
        """
        self._files = SBDFiles(root, "val")
        self._objects = [
            (name, int(instance))
            for name in self._files.names
            for instance in np.unique(self._files.instances(name))
            if instance != 0
        ]

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._objects)

    def __getitem__(self, index: int) -> EvaluationSample:
        """Return one object with its image; the other objects are background.

        Raises:
            DatasetError: if a file is damaged.
        """
        name, instance = self._objects[index]
        target = (self._files.instances(name) == instance).astype(np.int8)
        return EvaluationSample(object_name(name, instance), self._files.image(name), target)


class SBDImages:
    """The training images, as RITM and the authors use them: all objects but ragged ones.

    Args:
        root: see `SBDFiles`; the list `train.txt` is the one RITM distributes (8,498 images).

    Raises:
        DatasetError: if SBD is missing or half-unpacked.
    """

    def __init__(self, root: Path) -> None:
        self._files = SBDFiles(root, "train")

    def __len__(self) -> int:
        return len(self._files.names)

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
