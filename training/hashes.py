"""What tells whether a file is still what it was."""

import hashlib
from pathlib import Path

_CHUNK = 1 << 20  # bytes


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits, without keeping it in memory.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
