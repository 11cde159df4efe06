import stat

from ml_backend.demo.credentials import load_or_create


def test_credentials_are_made_once_and_kept_private(tmp_path):
    path = tmp_path / "demo" / "credentials.json"
    first = load_or_create(path)
    assert load_or_create(path) == first
    assert len(first.token) == 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
