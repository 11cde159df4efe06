import hashlib

import pytest

from training.atomic_files import appearing, file_sha256, write_atomically


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


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_the_hash_of_a_file_is_that_of_its_content(tmp_path, size):
    content = bytes(index % 251 for index in range(size))
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
