"""What changes when the files of a data set do."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from training.errors import DatasetError
from training.hashes import file_sha256

# What Windows puts into folders of pictures; other systems hide what they leave.
_LEFT_BY_DESKTOPS = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})


def files_fingerprint(path: Path) -> str:
    """Return a text that depends on names, sizes and dates of a file, or of all below a folder.

    Linked folders count with what is in them. Where the folder lies does not matter, nor does what
    is hidden in it or a desktop's: no data set reads that, and such files are left anywhere.
    """
    return _fingerprint(path, _stamp)


def contents_fingerprint(path: Path) -> str:
    """Return the same of names and contents: a copy has that of its original.

    All is read, so this is for what is read anyway: a second or two for each gigabyte.

    Raises:
        DatasetError: if a file cannot be read.
    """
    try:
        return _fingerprint(path, file_sha256)
    except OSError as error:
        raise DatasetError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _fingerprint(path: Path, of: Callable[[Path], str]) -> str:
    if path.is_file():
        return of(path)
    digest = hashlib.sha256()
    for folder, names in _folders(path):
        for name in names:
            file = folder / name
            digest.update(f"{file.relative_to(path)} {of(file)}\n".encode())
    return digest.hexdigest()


def stamps_fingerprint(files: Iterable[Path]) -> str:
    """Return a text that depends on sizes and dates of these files, in this order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{_stamp(file)}\n".encode())
    return digest.hexdigest()


def require_outside(setting: str, place: Path, data: Path) -> None:
    """See to it that what is written does not change the fingerprint of a data set.

    Args:
        setting: what names the place, for the error.
        place: where something is written.
        data: the file or folder whose fingerprint counts.

    Raises:
        DatasetError: if the place lies in the folder, or in one that is linked there.
    """
    written = place.resolve()
    if any(written.is_relative_to(folder.resolve()) for folder, _ in _folders(data)):
        raise DatasetError(
            f"{setting} {place} lies in the data set {data}, which would look like other data"
            " whenever something is written there: choose a folder outside of it"
        )


def _folders(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and all below it, linked ones too, each with the names of its files.

    What is hidden or a desktop's is left out.
    """
    for folder, folders, names in os.walk(path, followlinks=True):
        here = Path(folder)
        folders[:] = [name for name in _shown(folders) if not _leads_back(here / name)]
        yield here, _shown(names)


def _shown(names: Iterable[str]) -> list[str]:
    return sorted(
        name for name in names if name[0] != "." and name.lower() not in _LEFT_BY_DESKTOPS
    )


def _leads_back(folder: Path) -> bool:
    """Say whether a folder is one of those that it was found in, so that it would never end."""
    return folder.resolve() in {above.resolve() for above in folder.absolute().parents}


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
