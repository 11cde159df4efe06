"""Files that appear under their name whole: a reader, or a power cut, finds all or nothing."""

import contextlib
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let errors of writing, as on a full disk, name the file, as those of opening do."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


class _Naming(io.FileIO):
    """A file for writing whose errors name what it is to become."""

    def __init__(self, file: Path, becomes: Path) -> None:
        super().__init__(file, "wb")
        self._becomes = becomes

    def write(self, content: Any, /) -> int:
        with _named(self._becomes):
            return super().write(content)


@contextmanager
def appearing(path: Path, unfinished: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name once it is complete.

    Args:
        path: where it appears, and replaces what was there.
        unfinished: what it is called until then, in the same folder; a process that is killed
            leaves it behind.
    """
    try:
        with io.BufferedWriter(_Naming(unfinished, path)) as file:
            yield file
            file.flush()
            with _named(path):
                os.fsync(file.fileno())
        unfinished.replace(path)
        _sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Let a power cut not undo a rename; some network drives cannot promise that of a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole; its folder is made if missing, and several may write it at once."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync(folder.parent)
    with appearing(path, path.with_name(f".{path.name}.{uuid.uuid4().hex}")) as file:
        file.write(content)
