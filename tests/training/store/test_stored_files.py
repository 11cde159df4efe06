import errno
import os
import sys
import time
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pytest
from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from training.errors import FileStoreError, StoredFileError
from training.moments import now
from training.store.stored_files import StoredFiles


@pytest.fixture(params=["local", "memory"])
def files(request, tmp_path):
    address = str(tmp_path / "files") if request.param == "local" else f"memory://{tmp_path.name}"
    yield StoredFiles(address, tmp_path / "downloads")
    MemoryFileSystem.store.clear()


def test_what_is_put_is_read_from_a_key_that_names_its_content(files):
    key = files.put("weights", ".bin", b"seven")
    assert files.read(key) == files.read_verified(key) == b"seven"
    assert files.put("weights", ".bin", b"seven") == key
    assert sha256(b"seven").hexdigest() in key


def test_a_local_path_holds_the_content(files):
    key = files.put("weights", ".bin", b"seven")
    assert files.local_path(key).read_bytes() == b"seven"


def test_files_are_listed_and_deleted_unless_they_are_young(files):
    assert files.keys("weights") == []
    key = files.put("weights", ".bin", b"seven")
    other = files.put("weights", ".bin", b"eight")
    assert sorted(files.keys("weights")) == sorted([key, other])
    before, after = now() - timedelta(hours=1), now() + timedelta(hours=1)
    assert not files.delete_older(key, before)
    assert files.delete_older(key, after)
    assert not files.delete_older(key, after)
    assert files.keys("weights") == [other]


def test_a_file_that_is_stored_again_after_it_was_listed_is_young(tmp_path):
    class Listed(MemoryFileSystem):
        """Remembers what was listed, as s3fs does."""

        protocol = "listed"
        found: ClassVar = {}

        def find(self, path, **kwargs):
            self.found |= {one: super(Listed, self).info(one) for one in super().find(path)}
            return list(self.found)

        def modified(self, path):
            return self.found.get(path, super().info(path))["created"]

        def invalidate_cache(self, path=None):
            self.found.clear()

    register_implementation("listed", Listed, clobber=True)
    files = StoredFiles(f"listed://{tmp_path.name}", tmp_path / "downloads")
    key = files.put("masks", ".png", b"content")
    assert files.keys("masks") == [key]
    later = now()
    files.put("masks", ".png", b"content")
    assert not files.delete_older(key, later)
    assert files.read(key) == b"content"
    MemoryFileSystem.store.clear()


def test_a_missing_file_is_named(files):
    with pytest.raises(StoredFileError, match=r"weights/ab/abc\.bin is missing"):
        files.read("weights/ab/abc.bin")


def test_a_file_that_cannot_be_read_is_not_called_missing(tmp_path):
    files = StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")
    (tmp_path / "files" / "weights" / "ab" / "abc.bin").mkdir(parents=True)
    with pytest.raises(FileStoreError, match=r"abc\.bin cannot be read: .*directory"):
        files.read("weights/ab/abc.bin")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "files").write_bytes(b"a file")
    files = StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")
    with pytest.raises(FileStoreError, match=r"files/weights/.* cannot be stored"):
        files.put("weights", ".bin", b"seven")


def test_what_a_remote_store_raises_becomes_a_sentence(tmp_path):
    class Away(MemoryFileSystem):
        protocol = "away"

        def info(self, path, **kwargs):
            raise RuntimeError("no connection")

        cat_file = find = modified = info

    register_implementation("away", Away, clobber=True)
    files = StoredFiles("away://bucket", tmp_path / "downloads")
    for ask in (
        files.read,
        files.keys,
        files.local_path,
        partial(files.delete_older, moment=now()),
    ):
        with pytest.raises(FileStoreError, match=r"abc cannot be .*: no connection"):
            ask("weights/ab/abc")


def test_what_a_proxy_answers_for_a_remote_store_is_no_damage(tmp_path):
    class BehindProxy(MemoryFileSystem):
        protocol = "proxied"

        def cat_file(self, path, start=None, end=None, **kwargs):
            raise OSError(errno.EIO, "An error occurred (502): Bad Gateway")  # as s3fs says it

    register_implementation("proxied", BehindProxy, clobber=True)
    files = StoredFiles("proxied://bucket", tmp_path / "downloads")
    with pytest.raises(FileStoreError, match=r"cannot be read: .*Bad Gateway"):
        files.read("masks/ab/abc.png")


def test_damage_is_noticed_and_mended_by_storing_again(tmp_path):
    files = StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")
    key = files.put("weights", ".bin", b"seven")
    for damage in (b"sev", b"SEVEN"):
        files.local_path(key).write_bytes(damage)
        with pytest.raises(StoredFileError, match="damaged"):
            files.read_verified(key)
        files.put("weights", ".bin", b"seven")
        assert files.read_verified(key) == b"seven"


def test_a_damaged_copy_of_a_remote_file_is_fetched_again(tmp_path):
    files = StoredFiles(f"memory://{tmp_path.name}", tmp_path / "downloads")
    key = files.put("weights", ".bin", b"seven")
    files.local_path(key).write_bytes(b"SEVEN")
    files.forget_copy(key)
    assert files.local_path(key).read_bytes() == b"seven"
    MemoryFileSystem.store.clear()


def test_copies_that_nobody_has_asked_for_in_a_month_go_with_the_next_download(tmp_path):
    files = StoredFiles(f"memory://{tmp_path.name}", tmp_path / "downloads")
    keys = [files.put("weights", ".bin", content) for content in (b"unused", b"used", b"new")]
    unused, used = (files.local_path(key) for key in keys[:2])
    half_written = unused.with_name(f".{unused.name}.0123")
    half_written.write_bytes(b"unu")
    for copy in (unused, used, half_written):
        os.utime(copy, (0, time.time() - timedelta(days=31).total_seconds()))
    files.local_path(keys[1])
    new = files.local_path(keys[2])
    copies = {path for path in (tmp_path / "downloads").rglob("*") if path.is_file()}
    assert copies == {used, new}
    assert files.local_path(keys[0]).read_bytes() == b"unused"
    MemoryFileSystem.store.clear()


def test_nothing_half_written_stays_behind(tmp_path):
    files = StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")
    files.put("images", ".png", b"one")
    assert [path.suffix for path in (tmp_path / "files").rglob("*") if path.is_file()] == [".png"]


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(FileStoreError, match="for s3:// install s3fs"):
        StoredFiles("s3://bucket/icmformer", tmp_path)
    with pytest.raises(FileStoreError, match="Protocol not known: carrier-pigeon"):
        StoredFiles("carrier-pigeon://bucket", tmp_path)


def test_a_file_on_a_bad_block_is_damaged_and_is_mended(tmp_path, monkeypatch):
    files = StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")
    key = files.put("masks", ".png", b"content")

    def bad_block(self, path, **options):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "cat_file", bad_block)
        with pytest.raises(StoredFileError, match="is damaged: Input/output error"):
            files.read(key)
        Path(files.local_path(key)).write_bytes(b"what is left of it")
        files.write(key, b"content")
    assert files.read_verified(key) == b"content"
