"""Everything that is kept is kept where the settings say."""

import os

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
