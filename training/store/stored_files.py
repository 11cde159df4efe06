"""Files that are named by what is in them: accepted images, masks, weights.

A name is the hash of the content, so writing twice is writing once, a reader can tell damage, and
nothing that was stored ever changes. The files live in a local folder or at any address that
fsspec knows (``s3://…``, ``gs://…``, ``memory://…``).
"""

import contextlib
import errno
import hashlib
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from training.atomic_files import write_atomically
from training.errors import FileStoreError, StoredFileError

# Whoever asks for a copy again has it fetched anew.
_UNUSED = timedelta(days=30)
# A store that hangs is given up then: s3fs, which tries again and again, would take up to an hour.
_PATIENCE_SECONDS = 300.0
_SLOWEST_BYTES_PER_SECOND = 100_000  # that a file is sent with, on top


class StoredFiles:
    """A folder of immutable files; safe to share between threads and processes.

    Attributes:
        is_local: whether they lie in a local folder, and no copies are made.
    """

    def __init__(self, place: Path | str, download_folder: Path) -> None:
        """Open the folder.

        Args:
            place: a local folder; or text, an address as fsspec writes it.
            download_folder: where `local_path` puts copies of files that are not local.

        Raises:
            FileStoreError: if the address is of no known kind, or its package is not installed.
        """
        self._filesystem: Any
        self._filesystem, self._root = _opened(place)
        self.is_local = isinstance(self._filesystem, LocalFileSystem)
        self._downloads = download_folder

    def put(self, folder: str, suffix: str, content: bytes) -> str:
        """Store the content under its SHA-256; return the key it is read with.

        Raises:
            FileStoreError: if it cannot be stored.
        """
        key = key_of(folder, suffix, hashlib.sha256(content).hexdigest())
        self.write(key, content)
        return key

    def write(self, key: str, content: bytes) -> None:
        """Store the content under a key that only this content can have; all of it or nothing.

        A file that was damaged since is mended; one that is there is as young as a new one, so
        that no `sweep` takes it before anything refers to it.

        Raises:
            FileStoreError: if it cannot be stored.
        """
        target = self.place(key)
        try:
            if not self.is_local:
                # object stores write all or nothing
                self._filesystem.pipe_file(target, content, **self._patience(len(content)))
            elif _has_content(Path(target), content):
                with contextlib.suppress(PermissionError):  # another user's file
                    Path(target).touch()
            else:
                write_atomically(Path(target), content)
        except Exception as error:
            raise FileStoreError(f"{target} cannot be stored: {_said(error)}") from error

    def read(self, key: str) -> bytes:
        """Return the content of a file.

        Raises:
            StoredFileError: if there is no such file, or it alone is damaged.
            FileStoreError: if it cannot be read.
        """
        try:
            return bytes(self._filesystem.cat_file(self.place(key), **self._patience()))
        except FileNotFoundError as error:
            raise StoredFileError(f"{self.place(key)} is missing from the stored files") from error
        except Exception as error:
            # What a disk says of a bad block, which is in one file; but s3fs of any answer that it
            # does not know, such as that of a proxy in front of a store that is restarted.
            if self.is_local and isinstance(error, OSError) and error.errno == errno.EIO:
                raise StoredFileError(f"{self.place(key)} is damaged: {error.strerror}") from error
            # A file system of fsspec raises what its client does, which need not be an OSError.
            raise FileStoreError(f"{self.place(key)} cannot be read: {_said(error)}") from error

    def read_verified(self, key: str) -> bytes:
        """Return the content of a file that `put` stored, after comparing it with its name.

        Raises:
            StoredFileError: if the file is missing or is not what was stored.
            FileStoreError: if it cannot be read.
        """
        content = self.read(key)
        stored_hash = key.rpartition("/")[2].partition(".")[0]
        if hashlib.sha256(content).hexdigest() != stored_hash:
            raise StoredFileError(
                f"{self.place(key)} is damaged: its content is not what was stored"
            )
        return content

    def local_path(self, key: str) -> Path:
        """Return a local path with the file's content, downloading it where it is not local.

        With that, copies go that nobody has asked for in 30 days.

        Raises:
            StoredFileError: if there is no such file.
            FileStoreError: if it cannot be downloaded.
        """
        if self.is_local:
            return Path(self.place(key))
        target = self._downloads / key
        with contextlib.suppress(OSError):  # there is none, or it is another user's
            os.utime(target)
        if not target.exists():
            content = self.read(key)
            try:
                write_atomically(target, content)
            except OSError as error:
                raise FileStoreError(f"{target} cannot be written: {error}") from error
            self._delete_unused_copies()
        return target

    def forget_copy(self, key: str) -> None:
        """Delete the local copy of a file that is not local; `local_path` makes a new one."""
        if not self.is_local:
            (self._downloads / key).unlink(missing_ok=True)

    def keys(self, folder: str) -> list[str]:
        """Return the keys of all files in a folder of the store, also of half-written ones.

        Raises:
            FileStoreError: if they cannot be listed.
        """
        try:
            found = self._filesystem.find(self.place(folder), **self._patience())
        except FileNotFoundError:
            return []
        except Exception as error:
            raise FileStoreError(
                f"{self.place(folder)} cannot be listed: {_said(error)}"
            ) from error
        return [path.removeprefix(f"{self._root}/") for path in found]

    def delete_older(self, key: str, moment: datetime) -> bool:
        """Delete a file that was last written before a moment; return whether it was.

        Raises:
            FileStoreError: if it cannot be deleted.
        """
        try:
            self._filesystem.invalidate_cache()  # of listings: it may be stored again since
            if self._filesystem.modified(self.place(key)) >= moment:
                return False
            self._filesystem.rm_file(self.place(key))
        except FileNotFoundError:
            return False
        except Exception as error:
            raise FileStoreError(f"{self.place(key)} cannot be deleted: {error}") from error
        self.forget_copy(key)
        return True

    def _delete_unused_copies(self) -> None:
        """Delete old copies, and what killed processes left of some; `sweep` may never run here."""
        oldest = time.time() - _UNUSED.total_seconds()
        for path in self._downloads.rglob("*"):
            with contextlib.suppress(OSError):  # another process may be at it, too
                if path.is_file() and path.stat().st_mtime < oldest:
                    path.unlink()

    def _patience(self, nbytes: int = 0) -> dict[str, float]:
        """Return the argument that limits a call which sends so many bytes."""
        if not self._filesystem.async_impl:  # which alone knows how to give up
            return {}
        return {"timeout": _PATIENCE_SECONDS + nbytes / _SLOWEST_BYTES_PER_SECOND}

    def place(self, key: str) -> str:
        """Say where a file of this key is, as people and the file system call it."""
        return f"{self._root}/{key}"


def _said(error: Exception) -> str:
    return str(error) or "the store does not answer"


def key_of(folder: str, suffix: str, content_hash: str) -> str:
    """Return where content with this hash is kept, spread over 256 folders."""
    return f"{folder}/{content_hash[:2]}/{content_hash}{suffix}"


def _opened(place: Path | str) -> tuple[Any, str]:
    """Return the file system and the path of the folder in it."""
    if isinstance(place, Path):
        return LocalFileSystem(), str(place.absolute())
    try:
        filesystem, root = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        kind = place.partition(":")[0][:40]
        raise FileStoreError(
            f"stored files at {kind}:// cannot be opened: {error} (for s3:// install s3fs; "
            "docs/deployment.md says how)"
        ) from error
    return filesystem, root


def _has_content(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:  # missing, or damaged: it is written anew
        return False
