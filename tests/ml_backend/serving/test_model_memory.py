"""Versions come and go between two requests, within the memory they may take."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from icmformer import Click, load_checkpoint
from ml_backend.app import create_app
from ml_backend.deadline import Deadline
from ml_backend.errors import DeviceMemoryError, ModelError, SettingsError
from ml_backend.learning.assembly import open_learning
from ml_backend.serving import loaded_model, model_memory, pointer_follower
from ml_backend.serving.loaded_model import load_version
from ml_backend.serving.pointer_follower import PointerFollower
from ml_backend.serving.versions import Version, default_version, version_of_file
from ml_backend.settings import Settings
from tests.ml_backend.serving.memory_of_versions import (
    MovablePointer,
    served,
    serving,
    three_versions,
)
from tests.waiting import PATIENCE, wait_until
from training.store.database import Database
from training.store.live_pointer import Mover, promote
from training.store.model_versions import Candidate, ModelVersions
from training.store.stored_files import StoredFiles

IMAGE = np.full((40, 50, 3), 90, np.uint8)


@pytest.fixture
def versions(tmp_path):
    return three_versions(tmp_path)


def damage(version):
    version.weights.write_bytes(version.weights.read_bytes()[:-50])


def test_version_is_loaded_once_however_many_ask(versions):
    models, loader = serving(MovablePointer(versions[0]))
    loader.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(served, models, "2") for _ in range(8)]
        loader.gate.set()
        found = {id(future.result()) for future in asked}
    assert len(found) == 1
    assert len(loader.loaded) == 1


def test_moved_pointer_takes_effect_at_the_next_request(versions):
    pointer = MovablePointer(versions[0])
    models, _ = serving(pointer)
    before = served(models, "2")
    pointer.default = versions[1]
    assert served(models, "2").version == versions[1]
    pointer.default = versions[0]
    assert served(models, "2") is before


def test_request_in_flight_keeps_the_network_it_began_with(versions):
    pointer = MovablePointer(versions[0])
    models, _ = serving(pointer, max_bytes=1)
    held = served(models, "2")
    pointer.default = versions[1]
    served(models, "2")
    assert [model.version for model in models.loaded()] == [versions[1]]
    assert held.elsewhere.segment(IMAGE, [Click(9, 9, True)]).mask.shape == (40, 50)


def test_projects_have_versions_of_their_own(versions):
    pointer = MovablePointer(versions[0])
    pointer.by_project["7"] = versions[1]
    models, _ = serving(pointer)
    assert served(models, "7").version == versions[1]
    assert served(models, "8").version == versions[0]
    assert served(models, "").version == versions[0]


def test_memory_is_bounded_and_the_least_recently_used_goes_first(versions):
    pointer = MovablePointer(versions[0])
    pointer.by_project |= {"1": versions[1], "2": versions[2]}
    size = load_version(versions[0], "cpu", lambda: None).nbytes
    models, loader = serving(pointer, max_bytes=2 * size)
    for project in ("0", "1", "0", "2"):
        served(models, project)
    assert [model.version for model in models.loaded()] == [versions[0], versions[2]]
    assert models.nbytes == 2 * size
    served(models, "1")
    assert loader.loaded == [versions[n].name for n in (0, 1, 2, 1)]


def test_what_serves_no_project_any_more_can_be_dropped(versions):
    pointer = MovablePointer(versions[0])
    pointer.by_project["1"] = versions[1]
    models, _ = serving(pointer)
    for project in ("0", "1"):
        served(models, project)
    pointer.default = versions[2]
    served(models, "0")
    models.drop_idle()
    assert {model.version for model in models.loaded()} == {versions[1], versions[2]}


def test_what_serves_instead_of_a_damaged_version_is_not_idle(versions):
    pointer = MovablePointer(versions[0])
    models, _ = serving(pointer)
    served(models, "2")
    damage(versions[1])
    pointer.default = versions[1]
    served(models, "2")
    models.drop_idle()
    assert [model.version for model in models.loaded()] == [versions[0]]


@pytest.mark.parametrize("projects", ["222", "123"], ids=["one project", "three projects"])
def test_a_version_that_does_not_fit_gets_the_room_of_others(
    versions, settings, monkeypatch, projects
):
    """A GPU with room for two: the third of three versions serves all the same."""
    held = []

    def load(path):
        network = load_checkpoint(path)
        move = network.to

        def move_if_there_is_room(device):
            held.append(len(models.loaded()))
            if held[-1] >= 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB …")
            return move(device)

        network.to = move_if_there_is_room
        return network

    monkeypatch.setattr(loaded_model, "load_checkpoint", load)
    app = create_app(settings)
    models = app.extensions["icmformer"].models
    models._pointer = MovablePointer(versions[0])
    for version, project in zip(versions, projects, strict=True):
        models._pointer.by_project[project] = version
        assert served(models, project).version == version
    assert held == [0, 1, 2, 0]


def test_a_version_that_fits_nowhere_leaves_the_one_before_serving(versions, monkeypatch):
    pointer = MovablePointer(versions[0])
    models, _ = serving(pointer)
    served(models, "2")

    def full(version):
        raise DeviceMemoryError("the GPU has too little memory")

    models._load = full
    pointer.default = versions[1]
    assert served(models, "2").version == versions[0]
    assert models.problems() == [
        f"version {versions[1].name} cannot be loaded: the GPU has too little memory"
    ]
    with pytest.raises(ModelError, match="too little memory"):
        models.check("2")
    monkeypatch.setattr(model_memory, "RETRY_SECONDS", 0.0)
    models.check("2")


def test_others_answer_while_one_version_loads(versions):
    pointer = MovablePointer(versions[0])
    pointer.by_project["slow"] = versions[1]
    models, loader = serving(pointer)
    served(models, "fast")
    loader.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(served, models, "slow")
        assert served(models, "fast").version == versions[0]
        assert not slow.done()
        loader.gate.set()
        assert slow.result().version == versions[1]


def test_damaged_version_never_serves_and_the_one_before_goes_on(versions, monkeypatch):
    pointer = MovablePointer(versions[2])
    models, loader = serving(pointer)
    served(models, "2")
    pointer.default = versions[0]
    served(models, "2")
    models.check("2")
    damage(versions[1])
    pointer.default = versions[1]
    for _ in range(3):
        assert served(models, "2").version == versions[0]
    assert loader.loaded.count(versions[1].name) == 1
    (problem,) = models.problems()
    assert versions[1].name in problem
    monkeypatch.setattr(model_memory, "RETRY_SECONDS", 0.0)  # unlike memory, files rarely mend
    with pytest.raises(ModelError, match="cannot be loaded"):
        models.check("2")


def test_what_nobody_asks_for_any_more_is_no_problem(versions, monkeypatch):
    pointer = MovablePointer(versions[1])
    models, _ = serving(pointer)
    damage(versions[1])
    with pytest.raises(ModelError):
        served(models, "2")
    assert len(models.problems()) == 1
    pointer.default = versions[0]
    served(models, "2")
    later = time.monotonic() + model_memory.REMEMBERED_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert models.problems() == []


def test_damaged_version_without_a_predecessor_is_an_error(versions):
    damage(versions[0])
    models, _ = serving(MovablePointer(versions[0]))
    with pytest.raises(ModelError, match="cannot be loaded"):
        served(models, "2")


def test_repaired_file_is_found_after_a_while(versions, monkeypatch):
    good = versions[0].weights.read_bytes()
    damage(versions[0])
    models, _ = serving(MovablePointer(versions[0]))
    with pytest.raises(ModelError):
        served(models, "2")
    versions[0].weights.write_bytes(good)
    with pytest.raises(ModelError):
        served(models, "2")
    monkeypatch.setattr(model_memory, "RETRY_SECONDS", 0.0)
    assert served(models, "2").version == versions[0]
    assert models.problems() == []


def test_what_nobody_foresaw_while_loading_keeps_nobody_waiting(versions):
    models, loader = serving(MovablePointer(versions[0]))
    models._load = {}.__getitem__
    with pytest.raises(KeyError):
        models.serving("2", Deadline(PATIENCE))
    models._load = loader
    assert served(models, "2").version == versions[0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(MemoryError(), "too little memory"), (OSError("gone"), "gone"), (RuntimeError("odd"), "odd")],
)
def test_what_does_not_load_leaves_the_one_before_serving(versions, error, reason):
    pointer = MovablePointer(versions[0])
    models, _ = serving(pointer)
    served(models, "2")
    models._load = Mock(side_effect=error)
    pointer.default = versions[1]
    assert served(models, "2").version == versions[0]
    with pytest.raises(ModelError, match=f"cannot be loaded: .*{reason}"):
        models.preload(versions[1])


def test_swap_under_load_fails_no_request(versions):
    pointer = MovablePointer(versions[0])
    models, _ = serving(pointer, max_bytes=1)
    stop = threading.Event()
    answers, failures = [], []

    def annotator():
        while not stop.is_set():
            try:
                model = served(models, "2")
                answers.append(model.elsewhere.segment(IMAGE, [Click(9, 9, True)]))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=annotator) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(12):
        pointer.default = versions[number % 3]
        served(models, "2")
        seen = len(answers)
        wait_until(lambda seen=seen: failures or len(answers) > seen, every=0.002)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_served_before_is_remembered_of_some_projects_only(versions, monkeypatch):
    monkeypatch.setattr(model_memory, "MOST_PROJECTS", 2)
    pointer = MovablePointer(versions[0])
    models, _ = serving(pointer)
    for project in ("2", "3", "4"):
        served(models, project)
    damage(versions[1])
    pointer.default = versions[1]
    assert served(models, "2").version == versions[0]
    with pytest.raises(ModelError, match="cannot be loaded"):
        served(models, "4")


@pytest.fixture
def stored(tmp_path, versions):
    """Versions in a remote store: the first is the site's, the second project 2's."""
    files = StoredFiles(f"memory://{tmp_path.name}", tmp_path / "downloads")
    database = Database(f"sqlite:///{tmp_path}/state.db")
    stored = ModelVersions(database, files)
    stored.register_base(versions[0].weights)
    number = stored.publish(Candidate("job 1", versions[1].weights, project="2"))
    stored.move(partial(promote, project="2", version=number, mover=Mover("ann", "")))
    yield stored
    database.close()
    MemoryFileSystem.store.clear()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"altered")])
def test_copy_that_was_damaged_after_it_was_loaded_is_fetched_again(stored, damage):
    models, _ = serving(PointerFollower(stored, Version("untrained", None)), max_bytes=1)
    first = served(models, "2").version
    assert served(models, "3").version != first
    damage(first.weights)
    assert served(models, "2").version == first
    assert models.problems() == []


def test_version_that_was_damaged_after_it_was_loaded_gives_way_to_the_one_before(
    stored, monkeypatch
):
    pointer = PointerFollower(stored, Version("untrained", None))
    models, _ = serving(pointer, max_bytes=1)
    second, starter = served(models, "2").version, served(models, "3").version
    weights, remote = stored.get(2).weights, MemoryFileSystem()
    (path,) = (path for path in remote.find("/") if path.endswith(weights))
    whole = remote.cat_file(path)
    remote.pipe_file(path, b"altered")
    second.weights.unlink()
    assert served(models, "2").version == starter
    assert "version 2 cannot be served" in pointer.problems()[0]
    remote.pipe_file(path, whole)
    monkeypatch.setattr(pointer_follower, "LOOK_AGAIN_SECONDS", 0)
    monkeypatch.setattr(model_memory, "RETRY_SECONDS", 0)
    pointer.refresh()
    assert served(models, "2").version == second


def test_version_is_named_after_file_and_content(versions, tmp_path):
    copy = tmp_path / "elsewhere" / "v0.safetensors"
    copy.parent.mkdir()
    copy.write_bytes(versions[0].weights.read_bytes())
    assert version_of_file(copy).name == versions[0].name
    assert len({version.name for version in versions}) == 3
    assert all(version.trained for version in versions)


def test_checkpoint_of_the_settings_is_the_default(versions, tmp_path):
    assert default_version(versions[0].weights) == versions[0]
    with pytest.raises(SettingsError, match="ICMFORMER_CHECKPOINT"):
        default_version(tmp_path / "missing.safetensors")
    with pytest.raises(SettingsError, match=r"ICMFORMER_CHECKPOINT is .*: convert .*x\.safeten"):
        default_version(tmp_path / "x.pth")


def test_serving_follows_its_setting_back_and_a_worker_leaves_it_alone(versions, tmp_path):
    starter, own = (
        Settings(model_dir=tmp_path / "state", checkpoint=version.weights)
        for version in versions[:2]
    )

    def served(settings):
        backend = create_app(settings).extensions["icmformer"]
        backend.learning.close()
        return backend.pointer.live("").name

    assert served(starter) == versions[0].name
    assert served(own) == versions[1].name
    worker = open_learning(starter)
    assert worker.stores.versions.live("").version == 2
    worker.close()
    assert served(starter) == versions[0].name
