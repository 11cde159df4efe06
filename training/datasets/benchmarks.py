"""The benchmarks by name, below one data folder."""

from pathlib import Path
from typing import Protocol

from training.datasets.each_object import EachObject
from training.datasets.image_folder import ImageFolder
from training.datasets.sample import EvaluationSample
from training.datasets.sbd import SBDObjects
from training.datasets.single_object import LAYOUTS, SingleObjectImages
from training.errors import DatasetError
from training.home_paths import expanded_path

BENCHMARKS = ("GrabCut", "Berkeley", "SBD", "DAVIS", "COCO_MVal")
FOLDER_PREFIX = "folder:"


class BenchmarkDataset(Protocol):
    """Objects to be clicked, of a known number in the release that numbers are published on."""

    published_size: int | None

    def __len__(self) -> int:
        """Return the number of objects."""
        ...

    def __getitem__(self, index: int) -> EvaluationSample:
        """Return one object, 0 ≤ index < len."""
        ...


def open_benchmark(name: str, data: Path | None) -> BenchmarkDataset:
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
    if name.startswith(FOLDER_PREFIX):
        folder = benchmark_folder(name, data)
        objects = EachObject(ImageFolder(folder))
        if not len(objects):
            raise DatasetError(
                f"{folder} holds no object to click on: number each image's objects from 1 in its"
                " mask"
            )
        return objects
    if name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise DatasetError(f"there is no benchmark {name!r}; known: {known}, {FOLDER_PREFIX}PATH")
    folder = benchmark_folder(name, data)
    return SBDObjects(folder) if name == "SBD" else SingleObjectImages(folder, LAYOUTS[name])


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
