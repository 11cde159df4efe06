"""The benchmarks by name, below one data folder."""

import argparse
from pathlib import Path

from training.datasets.each_object import EachObject
from training.datasets.image_folder import ImageFolder
from training.datasets.sample import EvaluationDataset
from training.datasets.sbd import VALIDATION_OBJECTS, SBDObjects
from training.datasets.single_object import LAYOUTS, SingleObjectImages
from training.errors import DatasetError
from training.home_paths import expanded_path, given_path

BENCHMARKS = ("GrabCut", "Berkeley", "SBD", "DAVIS", "COCO_MVal")
FOLDER_PREFIX = "folder:"


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--data`, the folder below which `open_benchmark` looks."""
    parser.add_argument(
        "--data",
        type=given_path,
        help="folder that holds the benchmarks' folders; a relative folder:PATH is below it",
    )


def open_benchmark(name: str, data: Path | None) -> EvaluationDataset:
    """Open a benchmark.

    Args:
        name: one of `BENCHMARKS`, or `folder:PATH` for images/ and masks/ of one's own (instance
            ids), the path being absolute or below `data`.
        data: the folder that holds the benchmarks' folders, or one around its `benchmarks/`; None
            suffices for a folder of one's own, whose path may be below the current folder then.

    Raises:
        DatasetError: if the name is unknown, or the data set missing, half-unpacked or without any
            object.
    """
    if not name.startswith(FOLDER_PREFIX) and name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise DatasetError(f"there is no benchmark {name!r}; known: {known}, {FOLDER_PREFIX}PATH")
    folder = benchmark_folder(name, data)
    if name in LAYOUTS:
        return SingleObjectImages(folder, LAYOUTS[name])
    objects: EvaluationDataset
    if name == "SBD":
        objects, advice = SBDObjects(folder), "unpack it again, with the names in its val.txt"
    else:
        objects = EachObject(ImageFolder(folder))
        advice = "number each image's objects from 1 in its mask"
    if not len(objects):
        raise DatasetError(f"{folder} holds no object to click on: {advice}")
    return objects


def published_size(name: str) -> int | None:
    """Return how many objects a benchmark's published numbers are of; None for a folder's."""
    if name == "SBD":
        return VALIDATION_OBJECTS
    return LAYOUTS[name].published_size if name in LAYOUTS else None


def benchmark_folder(name: str, data: Path | None) -> Path:
    """Return where the benchmark lies below `data`, or where it is expected to lie.

    Raises:
        DatasetError: if only `data` could say where, or in a home folder that is not there.
    """
    if name.startswith(FOLDER_PREFIX):
        try:
            return (data or Path()) / expanded_path(name.removeprefix(FOLDER_PREFIX))
        except ValueError as error:
            raise DatasetError(str(error)) from error
    if data is None:
        raise DatasetError(
            f"where is {name}? Give --data, the folder that holds the benchmarks' folders"
        )
    nested = data / "benchmarks" / name
    return nested if nested.is_dir() else data / name
