"""Who waits for a version waits no longer than there is time, and for no other version."""

import threading

import pytest

from icmformer import load_checkpoint
from ml_backend.app import create_app
from ml_backend.deadline import Deadline
from ml_backend.errors import DeadlineError
from ml_backend.serving import loaded_model, model_memory
from tests.ml_backend.label_studio_requests import clicks, keypoint, predict
from tests.ml_backend.serving.memory_of_versions import (
    MovablePointer,
    served,
    serving,
    three_versions,
)
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def versions(tmp_path):
    return three_versions(tmp_path)


def test_nobody_waits_for_a_version_longer_than_there_is_time_and_the_next_one_gets_it(versions):
    models, loader = serving(MovablePointer(versions[0]))
    loader.gate.clear()
    for _ in range(2):
        with pytest.raises(DeadlineError, match=r"version v0-\w+ is still being loaded"):
            models.serving("2", Deadline(0.1))
    loader.gate.set()
    assert served(models, "2").version == versions[0]
    assert loader.begun == [versions[0]]


def test_a_slow_version_holds_up_no_other(versions):
    pointer = MovablePointer(versions[0])
    pointer.by_project["slow"] = versions[1]
    models, loader = serving(pointer)
    loader.slow = versions[1]
    loader.gate.clear()
    with pytest.raises(DeadlineError):
        models.serving("slow", Deadline(0.1))
    assert served(models, "fast").version == versions[0]
    loader.gate.set()
    assert served(models, "slow").version == versions[1]


def test_one_that_is_about_to_go_live_is_not_waited_for_either(versions, monkeypatch):
    models, loader = serving(MovablePointer(versions[0]))
    loader.gate.clear()
    monkeypatch.setattr(model_memory, "PRELOAD_SECONDS", 0.1)
    with pytest.raises(DeadlineError, match=r"is still being loaded$"):  # said to no annotator
        models.preload(versions[1])
    loader.gate.set()
    wait_until(lambda: [one.version for one in models.loaded()] == [versions[1]])
    models.preload(versions[1])
    assert loader.begun == [versions[1]]


def test_no_more_than_two_versions_come_on_top_of_what_is_in_memory(versions):
    pointer = MovablePointer(versions[0])
    pointer.by_project |= {"1": versions[1], "2": versions[2]}
    models, loader = serving(pointer)
    loader.gate.clear()
    for project, begun in (("0", 1), ("1", 2), ("2", 2)):
        with pytest.raises(DeadlineError):
            models.serving(project, Deadline(0.2))
        wait_until(lambda begun=begun: len(loader.begun) >= begun)
    assert loader.begun == versions[:2]
    loader.gate.set()
    assert served(models, "2").version == versions[2]


def test_a_click_is_told_that_its_version_is_still_being_loaded(settings):
    app = create_app(settings.model_copy(update={"predict_seconds": 3}))
    models, go_on = app.extensions["icmformer"].models, threading.Event()
    load = models._load
    models._load = lambda version: load(version) if go_on.wait(PATIENCE) else None
    body = clicks(keypoint(61.4, 54.7))
    (prediction,) = predict(app.test_client(), body)
    assert prediction["result"] == []
    assert "is still being loaded: click again in a moment" in prediction["error"]
    go_on.set()


def test_one_version_at_a_time_moves_to_the_device(versions, monkeypatch):
    """Else one could take the room that was made for the other."""
    read, moving, at_once = [], threading.Lock(), []

    def load(path):
        network = load_checkpoint(path)
        move = network.to

        def move_alone(device):
            at_once.append(not moving.acquire(blocking=False))
            wait_until(lambda: len(read) == 2)
            if not at_once[-1]:
                moving.release()
            return move(device)

        network.to = move_alone
        read.append(path)
        return network

    monkeypatch.setattr(loaded_model, "load_checkpoint", load)
    pointer = MovablePointer(versions[0])
    pointer.by_project["1"] = versions[1]
    models, _ = serving(pointer)
    asked = [threading.Thread(target=served, args=(models, project)) for project in "01"]
    for one in asked:
        one.start()
    for one in asked:
        one.join()
    assert at_once == [False, False]
