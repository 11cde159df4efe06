"""Make COCO+LVIS from COCO and LVIS: `python -m training convert-coco-lvis`.

LVIS outlines carefully, but not every object; COCO has the objects LVIS left out. As in RITM, every
mask of LVIS is kept, and one of COCO is added where none of LVIS covers the same object (IoU at
least 0.8). Sky, grass and the like, if COCO's panoptic masks are given, are kept apart as stuff.
The result is a folder that `training.datasets.layered_folder` reads.
"""

import argparse
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from training.coco_masks import decode_segmentation
from training.datasets.layered_folder import write_layers
from training.datasets.sample import AnnotatedImage
from training.errors import DatasetError

logger = logging.getLogger(__name__)
_SAME_OBJECT = 0.8
_Annotations = dict[int, list[dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--photos", type=Path, required=True, help="COCO's train2017 folder")
    parser.add_argument("--lvis", type=Path, required=True, help="lvis_v1_train.json")
    parser.add_argument("--coco", type=Path, required=True, help="instances_train2017.json")
    parser.add_argument(
        "--panoptic", type=Path, help="panoptic_train2017.json, its PNGs in a folder beside it"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the result")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    sources = read_sources(arguments.lvis, arguments.coco, arguments.panoptic)
    count = convert(sources, arguments.photos, arguments.output)
    logger.info("wrote %d images to %s", count, arguments.output)


@dataclass(frozen=True)
class Sources:
    """Annotations by the number of their image.

    Attributes:
        images: entries of LVIS: number, size and address.
        lvis, coco: annotations of each image.
        panoptic: PNG file and stuff segments of each image.
    """

    images: dict[int, dict[str, Any]]
    lvis: _Annotations
    coco: _Annotations
    panoptic: dict[int, tuple[Path, tuple[int, ...]]]


def read_sources(lvis: Path, coco: Path, panoptic: Path | None) -> Sources:
    """Read the annotation files, all of them into memory.

    Raises:
        DatasetError: if a file is missing or not what it should be.
    """
    content = _read(lvis, "lvis_v1_train.json of lvisdataset.org")
    advice = "annotations_trainval2017.zip of cocodataset.org"
    return Sources(
        images={image["id"]: image for image in content["images"]},
        lvis=_by_image(content["annotations"]),
        coco=_by_image(_read(coco, advice)["annotations"]),
        panoptic={} if panoptic is None else _stuff(panoptic),
    )


def convert(sources: Sources, photos: Path, output: Path) -> int:
    """Write the folder; return the number of images.

    Photos that are not there, such as LVIS's from COCO's validation set, are left out: COCO_MVal
    is measured on those.

    Raises:
        DatasetError: if no photo is there.
    """
    output.mkdir(parents=True, exist_ok=True)
    count = 0
    unfinished = output / "index.unfinished"
    with unfinished.open("w", encoding="utf-8") as index:
        for number, image in tqdm(sorted(sources.images.items()), unit="image"):
            photo = photos / Path(image["coco_url"]).name
            if not photo.is_file():
                continue
            size = (image["height"], image["width"])
            objects = list(_objects(sources, number, size))
            sample = _layered(photo.stem, objects, list(_stuff_masks(sources, number)), size)
            entry = write_layers(output, sample, Path(os.path.relpath(photo, output)))
            index.write(json.dumps(entry) + "\n")
            count += 1
    if not count:
        raise DatasetError(f"{photos} holds none of the photos; expected COCO's train2017/*.jpg")
    os.replace(unfinished, output / "index.jsonl")
    return count


def _objects(sources: Sources, number: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the masks of LVIS, then those of COCO that LVIS lacks."""
    known = [decode_segmentation(a["segmentation"], size) for a in sources.lvis.get(number, [])]
    yield from known
    for annotation in sources.coco.get(number, []):
        if annotation.get("iscrowd"):
            continue
        mask = decode_segmentation(annotation["segmentation"], size)
        if not any(_iou(mask, other) >= _SAME_OBJECT for other in known):
            yield mask


def _stuff_masks(sources: Sources, number: int) -> Iterator[np.ndarray]:
    if number not in sources.panoptic:
        return
    path, segments = sources.panoptic[number]
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DatasetError(f"{path} is missing or no image; unpack COCO's panoptic PNGs there")
    # COCO writes a segment's number as red + 256 green + 65536 blue.
    numbers = picture[:, :, ::-1].astype(np.int64) @ np.array([1, 256, 65536])
    for segment in segments:
        yield numbers == segment


def _layered(
    name: str, objects: list[np.ndarray], stuff: list[np.ndarray], size: tuple[int, int]
) -> AnnotatedImage:
    """Put masks into as few layers as keep overlapping ones apart."""
    layers: list[np.ndarray] = [np.zeros(size, np.int16)]
    places = []
    for mask in objects + stuff:
        layer = next((i for i, plane in enumerate(layers) if not plane[mask].any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(size, np.int16))
        number = int(layers[layer].max()) + 1
        layers[layer][mask] = number
        places.append((layer, number))
    return AnnotatedImage(
        name=name,
        image=np.empty((0, 0, 3), np.uint8),
        layers=np.stack(layers, axis=2),
        objects=tuple(places[: len(objects)]),
        stuff=tuple(places[len(objects) :]),
    )


def _iou(mask: np.ndarray, other: np.ndarray) -> float:
    overlap = np.count_nonzero(mask & other)
    return overlap / max(np.count_nonzero(mask | other), 1)


def _by_image(annotations: Iterable[dict[str, Any]]) -> _Annotations:
    found: _Annotations = defaultdict(list)
    for annotation in annotations:
        found[annotation["image_id"]].append(annotation)
    return found


def _stuff(panoptic: Path) -> dict[int, tuple[Path, tuple[int, ...]]]:
    content = _read(panoptic, "panoptic_annotations_trainval2017.zip of cocodataset.org")
    stuff = {category["id"] for category in content["categories"] if not category["isthing"]}
    folder = panoptic.with_suffix("")
    return {
        image["image_id"]: (
            folder / image["file_name"],
            tuple(s["id"] for s in image["segments_info"] if s["category_id"] in stuff),
        )
        for image in content["annotations"]
    }


def _read(path: Path, source: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); it is in {source}") from error
    return content
