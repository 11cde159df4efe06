"""Several people wait for the same image, each as long as they have time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml_backend.errors import TaskImageError
from tests.ml_backend.stand_in import Elsewhere, serving
from tests.ml_backend.task_pictures import PICTURE, TAG, images, png, task


@pytest.fixture
def elsewhere():
    server = Elsewhere({})
    with serving(server.app()) as server.url:
        yield server


@pytest.fixture
def slow_picture(elsewhere):
    """Say when slow.png is asked for; it comes when told to go on."""
    started, go_on = threading.Event(), threading.Event()

    def answer():
        started.set()
        go_on.wait(10)
        return png()

    elsewhere.answers["slow.png"] = answer
    return started, go_on


def test_nobody_waits_for_an_image_longer_than_there_is_time(elsewhere, slow_picture):
    started, go_on = slow_picture
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/slow.png")
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(loader.load, one, TAG)
        assert started.wait(10)
        with pytest.raises(TaskImageError, match=r"longer than 0\.1 seconds"):
            loader.load(one, TAG, seconds=0.1)
        go_on.set()
        assert patient.result().pixels.shape == PICTURE.shape


def test_whoever_has_more_time_than_another_still_gets_the_image(elsewhere, slow_picture):
    started, go_on = slow_picture
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/slow.png")
    with ThreadPoolExecutor(2) as pool:
        hurried = pool.submit(loader.load, one, TAG, seconds=0.5)
        started.wait(0.5)  # on a busy machine it is late before it has asked
        patient = pool.submit(loader.load, one, TAG)
        with pytest.raises(TaskImageError, match=r"longer than 0\.5 seconds"):
            hurried.result()
        go_on.set()
        assert patient.result().pixels.shape == PICTURE.shape


def test_concurrent_requests_load_an_image_once(elsewhere, slow_picture):
    started, go_on = slow_picture
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/slow.png")
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(loader.load, one, TAG) for _ in range(8)]
        assert started.wait(10)
        go_on.set()
        results = [future.result() for future in futures]
    assert len(elsewhere.requests) == 1
    assert all(result is results[0] for result in results)
