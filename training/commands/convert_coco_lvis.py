"""Make COCO+LVIS from COCO and LVIS: `python -m training convert-coco-lvis`.

Which masks are taken is decided by `training.conversion.combined_masks`; sky, grass and the like
are kept apart as stuff. The result is a folder that `training.datasets.layered_folder` reads.
"""

import argparse
import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from training.conversion.coco_masks import decode_segmentation
from training.conversion.combined_masks import CombinedMasks, combine
from training.conversion.unfinished_index import UnfinishedIndex
from training.datasets.fingerprint import files_fingerprint
from training.datasets.image_files import read_image, read_rgb
from training.datasets.layered_folder import write_layers
from training.datasets.prefetch import in_threads
from training.datasets.sample import AnnotatedImage, layered
from training.errors import DatasetError
from training.home_paths import given_path
from training.progress import progress

logger = logging.getLogger(__name__)
_Annotations = dict[int, list[dict[str, Any]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--photos", type=given_path, required=True, help="COCO's train2017 folder")
    parser.add_argument("--lvis", type=given_path, required=True, help="lvis_v1_train.json")
    parser.add_argument(
        "--panoptic",
        type=given_path,
        required=True,
        help="panoptic_train2017.json, its PNGs in a folder beside it",
    )
    parser.add_argument("--output", type=given_path, required=True, help="folder of the result")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    sources = read_sources(arguments.lvis, arguments.panoptic)
    count = convert(sources, arguments.photos, arguments.output)
    logger.info("wrote %d images to %s", count, arguments.output)


@dataclass(frozen=True)
class Segments:
    """One image of COCO's panoptic segmentation: its PNG, and the numbers of its segments."""

    path: Path
    things: tuple[int, ...]
    stuff: tuple[int, ...]


@dataclass(frozen=True)
class Sources:
    """Annotations by the number of their image.

    Attributes:
        files: what changes when the annotation files do.
        photos: names of their files.
        lvis: annotations of each image.
        coco: segments of each image.
    """

    files: str
    photos: dict[int, str]
    lvis: _Annotations
    coco: dict[int, Segments]


def read_sources(lvis: Path, panoptic: Path) -> Sources:
    """Read the annotation files, all of them into memory.

    Raises:
        DatasetError: if a file is missing or not what it should be.
    """
    with _content(lvis, "lvis_v1_train.json of lvisdataset.org") as content:
        photos = {image["id"]: Path(image["coco_url"]).name for image in content["images"]}
        annotations = _by_image(content["annotations"])
    with _content(panoptic, "panoptic_annotations_trainval2017.zip of cocodataset.org") as content:
        segments = _segments(content, panoptic.with_suffix(""))
    files = f"{files_fingerprint(lvis)}, {files_fingerprint(panoptic)}"
    return Sources(files, photos, annotations, segments)


def convert(sources: Sources, photos: Path, output: Path) -> int:
    """Write the folder, or what an interrupted call left to do; return the number of images.

    Only photos of COCO's training set are used, and of these only such with an object: LVIS also
    has photos of COCO's validation set, on which COCO_MVal is measured.

    Raises:
        DatasetError: if a photo or a PNG is missing, or of another size than its annotations.
    """
    numbers = _convertible(sources, photos)
    output.mkdir(parents=True, exist_ok=True)
    # Links in either path would lead a relative one astray.
    photos, output = photos.resolve(), output.resolve()
    index = UnfinishedIndex(output, f"{sources.files}, {photos}")
    left = [number for number in numbers if Path(sources.photos[number]).stem not in index]
    if len(left) < len(numbers):
        logger.info("%d images are converted already: going on", len(numbers) - len(left))

    def convert_one(number: int) -> dict[str, Any] | None:
        photo = photos / sources.photos[number]
        sample = _annotated(photo, sources.lvis.get(number, []), sources.coco[number])
        if sample is None:
            return None
        return write_layers(output, sample, Path(os.path.relpath(photo, output)))

    with in_threads(convert_one, left) as entries:
        for entry in progress(entries, total=len(left), unit="image"):
            if entry is not None:
                index.add(entry)
    return index.finish()


def _convertible(sources: Sources, photos: Path) -> list[int]:
    """Return the images that both have annotated, in order; their photos are there."""
    numbers = sorted(sources.photos.keys() & sources.coco.keys())
    if not numbers:
        raise DatasetError("no image is in both annotation files: take those of the same release")
    there = {path.name for path in photos.glob("*")}
    missing = [sources.photos[n] for n in numbers if sources.photos[n] not in there]
    if missing:
        raise DatasetError(
            f"{photos} lacks {len(missing)} of {len(numbers)} photos, such as {missing[0]}; unpack "
            "all of COCO's train2017.zip there"
        )
    return numbers


def _annotated(photo: Path, lvis: list[dict[str, Any]], coco: Segments) -> AnnotatedImage | None:
    """Return the image with its masks, None if no object is among them."""
    image = read_rgb(photo)
    numbers = _segment_numbers(coco.path)
    if numbers.shape != image.shape[:2]:
        raise DatasetError(f"{coco.path} is of another size than its photo {photo}")
    try:
        masks = combine(
            (decode_segmentation(each["segmentation"], numbers.shape) for each in lvis),
            (numbers == number for number in coco.things),
            (numbers == number for number in coco.stuff),
        )
    except (DatasetError, LookupError, TypeError, ValueError) as error:
        raise DatasetError(
            f"LVIS's annotations of {photo.name} are malformed, or of another photo: {error}"
        ) from error
    return _layered(photo.stem, image, masks) if masks.whole else None


def _segment_numbers(path: Path) -> np.ndarray:
    """Return the number of each pixel's segment, (H, W) int64."""
    try:
        picture = read_image(path, cv2.IMREAD_COLOR)
    except DatasetError as error:
        raise DatasetError(f"{error}; unpack COCO's panoptic PNGs there") from error
    # COCO writes a segment's number as red + 256 green + 65536 blue.
    return picture[:, :, ::-1].astype(np.int64) @ np.array([1, 256, 65536])


def _layered(name: str, image: np.ndarray, masks: CombinedMasks) -> AnnotatedImage:
    """Put masks into as few layers as keep overlapping ones apart, the largest objects first."""
    layers, places = layered((*masks.whole, *masks.parts, *masks.stuff))
    objects = places[: len(masks.whole)]
    return AnnotatedImage(name, image, layers, objects, places[len(places) - len(masks.stuff) :])


def _by_image(annotations: Iterable[dict[str, Any]]) -> _Annotations:
    found: _Annotations = defaultdict(list)
    for annotation in annotations:
        found[annotation["image_id"]].append(annotation)
    return found


def _segments(content: dict[str, Any], folder: Path) -> dict[int, Segments]:
    things = {category["id"] for category in content["categories"] if category["isthing"]}

    def numbers(image: dict[str, Any], thing: bool) -> tuple[int, ...]:
        segments = image["segments_info"]
        return tuple(s["id"] for s in segments if (s["category_id"] in things) == thing)

    return {
        image["image_id"]: Segments(
            folder / image["file_name"], numbers(image, thing=True), numbers(image, thing=False)
        )
        for image in content["annotations"]
    }


@contextmanager
def _content(path: Path, source: str) -> Iterator[dict[str, Any]]:
    """Give the content of a JSON file to code that looks into it, with a sentence if it fails."""
    try:
        yield json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise DatasetError(f"{path} cannot be read ({reason}); it is in {source}") from error
    except (LookupError, TypeError) as error:
        raise DatasetError(f"{path} is JSON of another kind; take the one in {source}") from error
