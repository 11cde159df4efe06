"""Everything that is kept is kept where the settings say."""

import os
import stat

import pytest

from ml_backend.learning.assembly import make_learning
from ml_backend.learning.work_queue import open_queue, require_reachable
from ml_backend.settings import Settings


@pytest.mark.parametrize("name", ["run?1", "50%20off", "a::b", "a#b"])
def test_a_model_dir_of_any_name_holds_all_that_is_kept(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    settings = Settings(model_dir=f"./{name}")
    require_reachable(open_queue(settings))
    with make_learning(settings) as learning:
        files = learning.stores.files
        key = files.put("weights", ".bin", b"seven")
        assert files.keys("weights") == [key]
        assert files.local_path(key).samefile(tmp_path / name / "files" / key)
    assert {"state.db", "inbox.db", "queue.db"} <= {
        path.name for path in (tmp_path / name).iterdir()
    }
    assert os.listdir() == [name]


@pytest.fixture
def umask():
    """Set this process's umask; it is as before afterwards."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o640), (0o002, 0o660)])
def test_what_webhooks_bring_is_closed_to_others_in_a_folder_that_is_open(
    tmp_path, umask, mask, mode
):
    umask(mask)
    folder = tmp_path / "masks"
    folder.mkdir(mode=0o755)
    settings = Settings(model_dir=folder)
    with make_learning(settings) as learning, open_queue(settings).storage.db():
        learning.inbox.put("ANNOTATION_CREATED", "3.1", b'{"project": {"token": "abc"}}')
        databases = ("state", "inbox", "queue")
        names = {f"{name}.db{ending}" for name in databases for ending in ("", "-wal")}
        modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in names}
    assert modes == dict.fromkeys(names, mode)


def test_a_database_that_is_there_keeps_its_mode(tmp_path, umask):
    make_learning(Settings(model_dir=tmp_path)).close()
    (tmp_path / "state.db").chmod(0o604)
    make_learning(Settings(model_dir=tmp_path)).close()
    assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o604
