"""COCO+LVIS as RITM distributes it: COCO photos with the masks of both, in layers.

Layout, below `train/` (or in the folder itself): `hannotation.pickle` maps image numbers to the
objects' hierarchy and the number of instance masks; `images/<number>.jpg`; and
`masks/<number>.pickle`, a pair of PNG-encoded layers and, for each object, its (layer, id).
Masks behind the instance masks are stuff.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from training.datasets.image_files import read_rgb, require_folder
from training.datasets.layered_folder import ids_in
from training.datasets.plain_pickle import load_plain_pickle
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError

_ADVICE = (
    "expected hannotation.pickle, images/*.jpg and masks/*.pickle: the annotations that RITM links"
    " as cocolvis_annotation.tar.gz, unpacked over COCO's train2017 photos; or make your own with"
    " `python -m training convert-coco-lvis` and read them as a layered_folder"
)


class CocoLvis:
    """The training images of COCO+LVIS; an object with a parent is a part and is not asked for.

    Args:
        root: the folder with hannotation.pickle, or the one around its `train`.

    Raises:
        DatasetError: if something is missing.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "train" if (root / "train").is_dir() else root
        require_folder(self._folder / "images", _ADVICE)
        require_folder(self._folder / "masks", _ADVICE)
        annotation = self._folder / "hannotation.pickle"
        if not annotation.is_file():
            raise DatasetError(f"there is no {annotation}; {_ADVICE}")
        content: dict[Any, Any] = load_plain_pickle(annotation)
        self._images = sorted(content.items())
        for what, file_of in (("masks", self._mask_file), ("photos", self._photo)):
            missing = [name for name, _ in self._images if not file_of(name).is_file()]
            if missing:
                raise DatasetError(
                    f"{len(missing)} of the {len(self._images)} images in {annotation} lack their"
                    f" {what} (the first is {missing[0]}); {_ADVICE}"
                )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> AnnotatedImage:
        name, info = self._images[index]
        image = read_rgb(self._photo(name))
        content = load_plain_pickle(self._mask_file(name))
        try:
            layers, objects, stuff = _masks(content, info)
        except (LookupError, TypeError, ValueError, AttributeError, cv2.error) as error:
            raise DatasetError(
                f"{self._mask_file(name)} is of another kind, or is not what hannotation.pickle "
                f"says of it: {error}"
            ) from error
        return AnnotatedImage(str(name), image, layers, objects, stuff)

    def _photo(self, name: object) -> Path:
        return self._folder / "images" / f"{name}.jpg"

    def _mask_file(self, name: object) -> Path:
        return self._folder / "masks" / f"{name}.pickle"


def _masks(
    content: Any, info: Any
) -> tuple[np.ndarray, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """Return layers, objects and stuff; whatever is malformed raises something."""
    encoded, mapping = content
    layers = np.stack([_decoded(layer) for layer in encoded], axis=2)
    places = [(int(layer), int(number)) for layer, number in _in_order(mapping)]
    instances = int(info["num_instance_masks"])
    hierarchy = info["hierarchy"]
    roots = [i for i, node in hierarchy.items() if node is None or node["parent"] is None]
    marked = ids_in(layers)
    # What lies wholly below others is in no layer, and nothing to ask for.
    objects = [places[i] for i in sorted(roots) if i < instances]
    return (
        layers.astype(np.int16),
        tuple(place for place in objects if place in marked),
        tuple(place for place in places[instances:] if place in marked),
    )


def _decoded(layer: np.ndarray) -> np.ndarray:
    plane = cv2.imdecode(np.asarray(layer), cv2.IMREAD_UNCHANGED)
    if plane is None:
        raise ValueError("a layer is no PNG")
    return plane


def _in_order(mapping: Any) -> list[Any]:
    """Return the values of a list, or of a dictionary with the keys 0, 1, 2 and so on."""
    return [mapping[i] for i in range(len(mapping))]
