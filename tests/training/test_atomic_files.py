import errno
import os
import resource
import stat
from contextlib import contextmanager

import pytest
import torch

from training.atomic_files import appearing, write_atomically
from training.loop.training_state import save_state


def test_a_file_is_replaced_at_once_and_its_folder_made(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for content in (b"first", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_half_way_leaves_what_was_there_and_nothing_else(tmp_path):
    path, unfinished = tmp_path / "file.txt", tmp_path / "unfinished"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), appearing(path, unfinished) as file:
        file.write("text is no bytes")
    assert path.read_bytes() == b"before"
    assert not unfinished.exists()


def test_what_is_new_is_on_disk_before_it_replaces_what_was_there(tmp_path, monkeypatch):
    path, unfinished, fsync = tmp_path / "file.txt", tmp_path / "unfinished", os.fsync
    path.write_bytes(b"before")
    forced_to_disk = []

    def note(file):
        what = "folder" if stat.S_ISDIR(os.fstat(file).st_mode) else unfinished.read_bytes()
        forced_to_disk.append((what, path.read_bytes()))
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    with appearing(path, unfinished) as file:
        file.write(b"after")
    assert forced_to_disk == [(b"after", b"before"), ("folder", b"after")]


def test_folders_that_are_made_for_a_file_are_on_disk_before_it(tmp_path, monkeypatch):
    fsync, forced = os.fsync, []

    def note(file):
        forced.append(os.fstat(file).st_ino)
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    path = tmp_path / "new" / "newer" / "file.txt"
    write_atomically(path, b"content")
    folders = [path.parent.parent, tmp_path, path, path.parent]
    assert forced == [folder.stat().st_ino for folder in folders]


def test_a_drive_that_cannot_force_a_folder_to_disk_still_takes_the_file(tmp_path, monkeypatch):
    fsync = os.fsync

    def of_files_only(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", of_files_only)
    write_atomically(tmp_path / "file.txt", b"content")
    assert (tmp_path / "file.txt").read_bytes() == b"content"


def test_two_that_write_a_file_at_once_do_not_disturb_each_other(tmp_path, monkeypatch):
    path, fsync = tmp_path / "file.txt", os.fsync

    def write_another_meanwhile(file):
        monkeypatch.setattr(os, "fsync", fsync)
        write_atomically(path, b"of another")
        assert path.read_bytes() == b"of another"

    monkeypatch.setattr(os, "fsync", write_another_meanwhile)
    write_atomically(path, b"of one")
    assert path.read_bytes() == b"of one"
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def no_file_larger_than(size):
    """As on a full disk, but for this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [3000, 300_000], ids=["when it is flushed", "at once"])
def test_a_file_that_finds_no_space_is_named(tmp_path, size):
    with (
        no_file_larger_than(1000),
        pytest.raises(OSError, match=r"File too large: '.*/file\.txt'$"),
        appearing(tmp_path / "file.txt", tmp_path / "unfinished") as file,
        appearing(tmp_path / "other", tmp_path / "unfinished too"),
    ):
        file.write(bytes(size))
    assert {file.name for file in tmp_path.iterdir()} <= {"other"}


@pytest.mark.parametrize("size", [1000, 1_000_000], ids=["when it is flushed", "in the middle"])
def test_so_is_a_state_of_a_training(tmp_path, size):
    with no_file_larger_than(1000), pytest.raises(OSError, match=r"/state-000000000016\.pt'$"):
        save_state(tmp_path, 16, {"weights": torch.zeros(size)}, keep=1)
    assert not list(tmp_path.iterdir())
