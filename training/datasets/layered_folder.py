"""Our own format for images whose objects overlap: masks in layers, and an index of them.

    index.jsonl        a line for each image: {"name", "image", "layers", "objects", "stuff"}
    layers/<name>.png  16-bit ids, the layers on top of each other: (layers · H, W)

`image` is a path below the folder or absolute; `objects` and `stuff` are lists of [layer, id].
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from training.atomic_files import write_atomically
from training.datasets.fingerprint import files_fingerprint, stamps_fingerprint
from training.datasets.image_files import read_image, read_rgb
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError

INDEX = "index.jsonl"
_KEYS = {"name", "image", "layers", "objects", "stuff"}


class LayeredFolder:
    """Training data set over that format.

    Args:
        path: the folder.

    Raises:
        DatasetError: if the index is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        index = path / INDEX
        try:
            lines = index.read_text(encoding="utf-8").splitlines()
            self._entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{index} cannot be read ({error}); `python -m training convert-coco-lvis` makes it"
            ) from error
        for number, entry in enumerate(self._entries, start=1):
            if not isinstance(entry, dict) or not entry.keys() >= _KEYS:
                raise DatasetError(
                    f"line {number} of {index} is no object with {', '.join(sorted(_KEYS))}; make"
                    " it again with `python -m training convert-coco-lvis`"
                )
        files = [path / str(entry["image"]) for entry in self._entries]
        files += [layers_file(path, entry["name"]) for entry in self._entries]
        missing = [file for file in files if not file.is_file()]
        if missing:
            raise DatasetError(
                f"{len(missing)} of the {len(files)} files that {index} names are not there (the"
                f" first is {missing[0]}); put the photos back, or make it again with"
                " `python -m training convert-coco-lvis`"
            )

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def fingerprint(self) -> str:
        """What changes when the files do, and the photos, which may lie outside the folder."""
        photos = stamps_fingerprint(self._path / entry["image"] for entry in self._entries)
        return f"{files_fingerprint(self._path)} {photos}"

    def __getitem__(self, index: int) -> AnnotatedImage:
        entry = self._entries[index]
        file = layers_file(self._path, entry["name"])
        stacked = read_image(file, cv2.IMREAD_UNCHANGED)
        try:
            layers = np.moveaxis(stacked.reshape(entry["layers"], -1, stacked.shape[1]), 0, 2)
            marked = ids_in(layers)
            objects, stuff = (_checked(entry[kind], marked) for kind in ("objects", "stuff"))
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{file} and its line of index.jsonl do not belong together: {error}"
            ) from error
        image = read_rgb(self._path / entry["image"])
        return AnnotatedImage(entry["name"], image, layers.astype(np.int32), objects, stuff)


def layers_file(path: Path, name: str) -> Path:
    """Return where the masks of an image lie in a folder."""
    return path / "layers" / f"{name}.png"


def ids_in(layers: np.ndarray) -> set[tuple[int, int]]:
    """Return the pairs (layer, id) of (H, W, L) unsigned ids that mark a pixel, background too.

    Raises:
        ValueError: if a layer has several channels.
    """
    if layers.ndim != 3:
        raise ValueError("a layer has several channels")
    pixels = [np.bincount(layer.ravel()) for layer in np.moveaxis(layers, 2, 0)]
    return {(place, int(i)) for place, counts in enumerate(pixels) for i in np.flatnonzero(counts)}


def _checked(places: Iterable[Any], marked: set[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    found = tuple((int(layer), int(number)) for layer, number in places)
    missing = [place for place in found if place[1] < 1 or place not in marked]
    if missing:
        raise ValueError(f"nothing is marked with {missing[0][1]} in layer {missing[0][0]}")
    return found


def write_layers(path: Path, sample: AnnotatedImage, image: Path) -> dict[str, Any]:
    """Write the masks of an image, whole or not at all, and return its line of the index.

    Args:
        path: the folder.
        sample: masks and objects; the image itself is not written.
        image: where the image lies.

    Raises:
        DatasetError: if the masks cannot be written.
    """
    planes = np.moveaxis(sample.layers, 2, 0)
    stacked = np.ascontiguousarray(planes.reshape(-1, planes.shape[2])).astype(np.uint16)
    _, content = cv2.imencode(".png", stacked)
    write_atomically(layers_file(path, sample.name), content.tobytes())
    return {
        "name": sample.name,
        "image": str(image),
        "layers": len(planes),
        "objects": [list(place) for place in sample.objects],
        "stuff": [list(place) for place in sample.stuff],
    }
