"""Serving while the stored files hang, fail, or are not there."""

import shutil
import threading

import pytest
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem

from ml_backend.app import create_app
from ml_backend.serving import default_weights, pointer_follower
from tests.ml_backend.label_studio_requests import clicks, keypoint, predict
from tests.waiting import PATIENCE, wait_until
from training.errors import FileStoreError
from training.store.live_pointer import SITE


class Store:
    """What a bucket does: it answers, or keeps whoever asks waiting and then fails."""

    def __init__(self):
        self.answers, self.fails = threading.Event(), False
        self.answers.set()

    def ask(self):
        assert self.answers.wait(PATIENCE)
        if self.fails:
            raise TimeoutError("Connect timeout on endpoint URL")


@pytest.fixture
def store(monkeypatch):
    store = Store()

    class FileSystem(MemoryFileSystem):
        protocol = "hanging"

        def cat_file(self, path, start=None, end=None, **kwargs):
            store.ask()
            return super().cat_file(path, start, end, **kwargs)

        def pipe_file(self, path, value, mode="overwrite", **kwargs):
            store.ask()
            return super().pipe_file(path, value, mode, **kwargs)

    register_implementation("hanging", FileSystem, clobber=True)
    monkeypatch.setattr(default_weights, "AGAIN_SECONDS", 0.01)
    yield store
    store.fails = False
    store.answers.set()
    MemoryFileSystem.store.clear()


@pytest.fixture
def settings(settings, store):
    return settings.model_copy(update={"files_url": "hanging://bucket"})


def page(app):
    return app.test_client().get("/").text


@pytest.mark.parametrize("is_new", [False, True], ids=["a new machine", "a new installation"])
def test_what_serve_is_started_with_serves_until_the_store_answers(
    settings, store, is_new, monkeypatch, caplog
):
    caplog.set_level("INFO")
    if not is_new:
        create_app(settings)
        shutil.rmtree(settings.model_dir / "downloads")
    monkeypatch.setattr(default_weights, "START_SECONDS", 0.1)
    monkeypatch.setattr(pointer_follower, "FIRST_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(pointer_follower, "LOOK_AGAIN_SECONDS", 0.1)
    store.answers.clear()
    app = create_app(settings)
    assert app.test_client().get("/health").status_code == 200
    (prediction,) = predict(app.test_client(), clicks(keypoint(61.4, 54.7)))
    assert prediction["result"], prediction
    assert "is not stored for now: this takes longer than 0.1 seconds" in page(app)
    store.fails = True
    store.answers.set()  # a request of S3 is given up after a while
    wait_until(lambda: "is not stored for now" in page(app) and "Connect timeout" in page(app))
    store.fails = False
    pointer = app.extensions["icmformer"].pointer
    wait_until(lambda: pointer.live(SITE).weights.is_relative_to(settings.model_dir))
    wait_until(lambda: "is not stored for now" not in page(app))
    said = [
        one.getMessage() for one in caplog.records if str(settings.checkpoint) in one.getMessage()
    ]
    assert len(said) == len(set(said)), "no problem is said twice"
    assert said[-1].endswith("is stored now")


def test_an_installation_that_cannot_store_its_first_weights_does_not_begin(settings, store):
    store.fails = True
    with pytest.raises(FileStoreError, match="Connect timeout"):
        create_app(settings)


def test_a_folder_that_is_not_mounted_is_told_and_stays_empty(settings, tmp_path):
    mount = tmp_path / "mount"
    settings = settings.model_copy(update={"files_url": f"{mount}/files"})
    create_app(settings)
    mount.rename(tmp_path / "not mounted")
    mount.mkdir()
    app = create_app(settings)
    assert "nothing there is of this installation" in page(app)
    (prediction,) = predict(app.test_client(), clicks(keypoint(61.4, 54.7)))
    assert prediction["result"], prediction
    assert list(mount.iterdir()) == []
    mount.rmdir()
    (tmp_path / "not mounted").rename(mount)
    wait_until(lambda: "nothing there is of this installation" not in page(app))
