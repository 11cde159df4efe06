"""What changes when the files of a data set do."""

import hashlib
import os
from pathlib import Path

from training.errors import DatasetError


def files_fingerprint(path: Path) -> str:
    """Return a text that depends on names, sizes and dates of a file, or of all below a folder.

    Where the folder lies does not matter.
    """
    if path.is_file():
        return _stamp(path)
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            digest.update(f"{file.relative_to(path)} {_stamp(file)}\n".encode())
    return digest.hexdigest()


def require_outside(setting: str, place: Path, data: Path) -> None:
    """See to it that what is written does not change the fingerprint of a data set.

    Args:
        setting: what names the place, for the error.
        place: where something is written.
        data: the file or folder whose fingerprint counts.

    Raises:
        DatasetError: if the place lies in the folder.
    """
    if place.resolve().is_relative_to(data.resolve()):
        raise DatasetError(
            f"{setting} {place} lies in the data set {data}, which would look like other data"
            " whenever something is written there: choose a folder outside of it"
        )


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
