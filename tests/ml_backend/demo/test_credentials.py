import resource
import stat

import pytest

from ml_backend.demo.credentials import load_or_create


def test_credentials_are_made_once_and_kept_private(tmp_path):
    path = tmp_path / "demo" / "credentials.json"
    first = load_or_create(path)
    assert load_or_create(path) == first
    assert len(first.token) == 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_credentials_for_which_the_disk_had_no_room_are_made_anew(tmp_path):
    path = tmp_path / "credentials.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            load_or_create(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_or_create(path) == load_or_create(path)
    assert list(tmp_path.iterdir()) == [path]
