"""Images decoded once into two flat files that every process maps into memory.

Decoding a JPEG costs several times what one training step needs of it; a mapped file costs a page
fault, is shared between processes, and never fills the heap.
"""

import glob
import json
import os
import socket
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from training.atomic_files import appearing
from training.datasets.large_images import Reduction
from training.datasets.prefetch import in_threads
from training.datasets.sample import AnnotatedImage, TrainingDataset
from training.progress import progress

_FORMAT = 7


class DecodedCache:
    """A data set read from the files that `decoded` wrote.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = json.loads((folder / "index.json").read_text())
        self._entries: list[dict[str, Any]] = index["entries"]
        self._pixels = np.memmap(folder / "pixels.u8", np.uint8, mode="r")
        self._ids = np.memmap(folder / "ids.i16", np.int16, mode="r")

    def __reduce__(self) -> tuple[type["DecodedCache"], tuple[Path]]:
        # A worker that is started afresh maps the files itself; pickling would copy them.
        return DecodedCache, (self._folder,)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> AnnotatedImage:
        entry = self._entries[index]
        height, width, layers = entry["shape"]
        pixels, ids = entry["pixels"], entry["ids"]
        image = self._pixels[pixels : pixels + height * width * 3].reshape(height, width, 3)
        words = height * width * layers * (2 if entry["wide"] else 1)
        planes = self._ids[ids : ids + words].view(np.int32 if entry["wide"] else np.int16)
        objects, stuff = (
            tuple((layer, number) for layer, number in entry[kind]) for kind in ("objects", "stuff")
        )
        shaped = planes.reshape(height, width, layers)
        return AnnotatedImage(entry["name"], image, shaped, objects, stuff)


def decoded(
    dataset: TrainingDataset, folder: Path, fingerprint: str, reduction: Reduction
) -> DecodedCache:
    """Return the data set from its cache, filling the cache first if need be.

    Args:
        dataset: what to decode.
        folder: of the cache; made if missing.
        fingerprint: what the content depends on; a cache with another one is written anew.
        reduction: what is kept of each image; its `repr` says what that depends on.
    """
    wanted = f"{fingerprint} {reduction!r} format={_FORMAT}"
    if not _holds(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        _write(dataset, folder, wanted, reduction)
    return DecodedCache(folder)


def _holds(folder: Path, fingerprint: str) -> bool:
    """Say whether a cache is there, whole, and of this content."""
    try:
        index = json.loads((folder / "index.json").read_text())
        sizes = [(folder / name).stat().st_size for name in ("pixels.u8", "ids.i16")]
        return [index["fingerprint"], index["sizes"]] == [fingerprint, sizes]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _write(dataset: TrainingDataset, folder: Path, fingerprint: str, reduction: Reduction) -> None:
    """Decode everything; files appear whole, so that two machines may do it at the same time."""
    entries: list[dict[str, Any]] = []
    # Left in the reverse order: the index, opened first, appears last.
    paths = [folder / name for name in ("index.json", "pixels.u8", "ids.i16")]
    with (
        appearing(paths[0], _unfinished(paths[0])) as index,
        appearing(paths[1], _unfinished(paths[1])) as pixels,
        appearing(paths[2], _unfinished(paths[2])) as ids,
        in_threads(lambda i: reduction(dataset[i]), range(len(dataset))) as images,
    ):
        done = progress(images, desc="decoding", total=len(dataset), unit="image", leave=False)
        for sample in chain.from_iterable(done):
            # Two words of ids.i16 for an id where one is not enough, as in some 16-bit masks.
            wide = bool(sample.layers.max() >= 2**15)
            entry = {
                "name": sample.name,
                "shape": sample.layers.shape,
                "pixels": pixels.tell(),
                "ids": ids.tell() // 2,
                "wide": wide,
                "objects": sample.objects,
                "stuff": sample.stuff,
            }
            entries.append(entry)
            pixels.write(np.ascontiguousarray(sample.image).tobytes())
            ids.write(sample.layers.astype(np.int32 if wide else np.int16).tobytes())
        sizes = [pixels.tell(), ids.tell()]
        content = {"fingerprint": fingerprint, "sizes": sizes, "entries": entries}
        index.write(json.dumps(content).encode())


def _unfinished(path: Path) -> Path:
    """Return what a file is called while it is written; see `_remove_leftovers`."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}")


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes of this machine left unfinished when they were killed: gigabytes.

    Of other machines nobody here knows who lives.
    """
    for file in folder.glob(f"*.{glob.escape(socket.gethostname())}-*"):
        number = file.name.rpartition("-")[2]
        if number.isdecimal() and not _lives(int(number)):
            file.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
