"""The two stored files of a model version: its weights, and their description beside them.

Both are compared with their recorded hashes every time a version is about to be served. Only
`sweep` takes them away again, once the version's row says that they were given up.
"""

import hashlib
from pathlib import Path

from training.errors import FileStoreError, StoredFileError, VersionError
from training.hashes import file_sha256
from training.store.stored_files import StoredFiles
from training.store.version_rows import VersionRow

VERSIONS = "versions"  # the folder of stored files


class VersionFiles:
    """Stores the files of versions, and finds them again."""

    def __init__(self, files: StoredFiles) -> None:
        """Bind where they are stored."""
        self._files = files

    def store(self, row: VersionRow, checkpoint: Path) -> None:
        """Store the files of a version and note in its row which they are.

        Raises:
            VersionError: if the checkpoint cannot be read.
            FileStoreError: if its files cannot be stored.
        """
        weights, description = read_pair(checkpoint)
        folder = f"{VERSIONS}/{sha256(weights + description)[:32]}"
        row.weights, row.weights_sha256 = f"{folder}/model.safetensors", sha256(weights)
        row.description, row.description_sha256 = f"{folder}/model.json", sha256(description)
        self._files.write(row.weights, weights)
        self._files.write(row.description, description)

    def checkpoint(self, row: VersionRow) -> Path:
        """Return a local path of a version's weights after comparing both files with their hashes.

        Raises:
            VersionError: if they were swept, or one of them is missing, damaged or cannot be read.
            FileStoreError: if the store cannot be reached.
        """
        if row.is_swept:
            raise VersionError(row.swept_sentence)
        try:
            for key, expected in (
                (row.description, row.description_sha256),
                (row.weights, row.weights_sha256),
            ):
                path = self._whole(key, expected)
        except FileStoreError as error:
            raise FileStoreError(f"version {row.number} cannot be served: {error}") from error
        except (OSError, StoredFileError) as error:
            raise VersionError(f"version {row.number} cannot be served: {error}") from error
        return path

    def _whole(self, key: str, expected: str) -> Path:
        path = self._files.local_path(key)
        if not _has_hash(path, expected) and not self._files.is_local:
            self._files.forget_copy(key)
            path = self._files.local_path(key)
        if not _has_hash(path, expected):
            problem = "damaged" if path.exists() else "missing from the stored files"
            self._files.forget_copy(key)
            raise StoredFileError(f"{path} is {problem}")
        return path


def read_pair(checkpoint: Path) -> tuple[bytes, bytes]:
    """Return the weights of a checkpoint and their description.

    Raises:
        VersionError: if it is not complete.
    """
    try:
        return checkpoint.read_bytes(), checkpoint.with_suffix(".json").read_bytes()
    except OSError as error:
        raise VersionError(f"{checkpoint} is not a complete checkpoint: {error}") from error


def sha256(content: bytes) -> str:
    """Return the hash that rows record of a file, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _has_hash(path: Path, expected: str) -> bool:
    return path.is_file() and file_sha256(path) == expected
