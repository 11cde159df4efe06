"""The demo's Label Studio keeps its database, which holds the token, from other users."""

import stat
from pathlib import Path

import pytest

from ml_backend.demo import label_studio_server
from ml_backend.demo.credentials import load_or_create
from ml_backend.errors import LocalServerError
from ml_backend.local_servers import ports


@pytest.mark.parametrize("is_of_an_earlier_demo", [False, True])
def test_other_users_cannot_look_into_its_folder(tmp_path, is_of_an_earlier_demo):
    data_dir, log = tmp_path / "label-studio", tmp_path / "log.txt"
    if is_of_an_earlier_demo:
        data_dir.mkdir(mode=0o755)
    login, port = load_or_create(tmp_path / "credentials.json"), ports.choose(None, 18080, "port")
    with pytest.raises(LocalServerError):
        label_studio_server.start(Path("/bin/false"), data_dir, port, login, log)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
