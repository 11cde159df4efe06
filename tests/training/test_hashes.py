import hashlib

import pytest

from training.hashes import file_sha256


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_the_hash_of_a_file_is_that_of_its_content(tmp_path, size):
    content = bytes(index % 251 for index in range(size))
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
