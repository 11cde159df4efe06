"""What changes when the files of a data set do."""

import hashlib
import os
from pathlib import Path


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


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
