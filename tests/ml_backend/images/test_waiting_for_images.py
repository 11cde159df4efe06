"""Several people wait for the same image, each as long as they have time."""

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from ml_backend.errors import ImageHostError, ImageTurnError, SlowImageError, TaskImageError
from ml_backend.images import image_wait, task_images
from ml_backend.images.image_limits import ImageLimits
from ml_backend.label_studio.client import LabelStudio
from tests.ml_backend.stand_in import PERSONAL_TOKEN, Elsewhere, StandInLabelStudio, serving
from tests.ml_backend.task_pictures import PICTURE, TAG, UPLOAD, images, png, task
from tests.waiting import PATIENCE


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
        go_on.wait(PATIENCE)
        return png()

    elsewhere.answers["slow.png"] = answer
    return started, go_on


def test_nobody_waits_for_an_image_longer_than_there_is_time(elsewhere, slow_picture):
    started, go_on = slow_picture
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/slow.png")
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(loader.load, one, TAG)
        assert started.wait(PATIENCE)
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
        assert started.wait(PATIENCE)
        go_on.set()
        results = [future.result() for future in futures]
    assert len(elsewhere.requests) == 1
    assert all(result is results[0] for result in results)


@pytest.fixture
def silent_server(elsewhere):
    """Say nothing until told to go on."""
    go_on = threading.Event()

    def answer():
        go_on.wait(PATIENCE)
        return png()

    elsewhere.answers["silent.png"] = answer
    yield go_on
    go_on.set()


def test_nobody_waits_again_for_an_image_that_did_not_come_a_moment_ago(
    elsewhere, silent_server, monkeypatch
):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}), read_seconds=0.1)
    one = task(f"{elsewhere.url}/silent.png")
    with pytest.raises(ImageHostError, match="no answer") as first:
        loader.load(one, TAG)
    patient = ImageLimits(allowed_hosts=frozenset({"127.0.0.1"}), read_seconds=PATIENCE)
    monkeypatch.setattr(loader._downloads, "_limits", patient)
    silent_server.set()
    with pytest.raises(ImageHostError) as second:
        loader.load(one, TAG)
    assert str(second.value) == str(first.value)
    assert len(elsewhere.requests) <= 1

    later = time.monotonic() + task_images.NOT_ASKED_AGAIN_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert loader.load(one, TAG).pixels.shape == PICTURE.shape


def test_an_image_that_took_all_the_time_it_may_is_not_waited_for_by_the_next(
    elsewhere, silent_server
):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}), total_seconds=0.1)
    one = task(f"{elsewhere.url}/silent.png")
    for _ in range(2):
        with pytest.raises(ImageHostError, match=r"longer than 0\.1 seconds"):
            loader.load(one, TAG, seconds=80)
    assert len(elsewhere.requests) <= 1


def test_who_was_in_a_hurry_keeps_the_image_from_nobody(elsewhere, silent_server):
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    one = task(f"{elsewhere.url}/silent.png")
    with pytest.raises(SlowImageError):
        loader.load(one, TAG, seconds=0.1)
    silent_server.set()
    assert loader.load(one, TAG).pixels.shape == PICTURE.shape


def test_nobody_waits_for_a_turn_to_decode_longer_than_there_is_time(elsewhere, monkeypatch):
    begun, go_on = threading.Barrier(3), threading.Event()
    decode = task_images.decode

    def held_up(data, max_pixels):
        begun.wait(PATIENCE)
        go_on.wait(PATIENCE)
        return decode(data, max_pixels)

    elsewhere.answers |= dict.fromkeys(("1.png", "2.png", "3.png"), png)
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}))
    first, second, third = (task(f"{elsewhere.url}/{number}.png") for number in (1, 2, 3))
    monkeypatch.setattr(task_images, "decode", held_up)
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(loader.load, one, TAG) for one in (first, second)]
        begun.wait(PATIENCE)
        monkeypatch.setattr(task_images, "decode", decode)
        hurried = pool.submit(loader.load, third, TAG, seconds=0.5)
        error = hurried.exception(PATIENCE)
        go_on.set()
        assert isinstance(error, SlowImageError)
        assert [one.result().pixels.shape for one in slow] == [PICTURE.shape] * 2
    assert loader.load(third, TAG).pixels.shape == PICTURE.shape


def test_a_large_file_waits_for_other_large_ones_and_no_other_file_waits(elsewhere, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    decode = task_images.decode

    def held_up(data, max_pixels):
        begun.set()
        go_on.wait(PATIENCE)
        return decode(data, max_pixels)

    monkeypatch.setattr(image_wait, "LARGE_AT_ONCE", 1)
    monkeypatch.setattr(image_wait, "LARGE_BYTES", 1 << 20)
    elsewhere.answers |= dict.fromkeys(("1.png", "2.png"), lambda: png() + bytes(2 << 20))
    elsewhere.answers["small.png"] = png
    loader = images(allowed_hosts=frozenset({"127.0.0.1"}), total_seconds=PATIENCE)
    hurried = ImageLimits(allowed_hosts=frozenset({"127.0.0.1"}), total_seconds=2.5)
    first, second, small = (task(f"{elsewhere.url}/{name}.png") for name in ("1", "2", "small"))
    monkeypatch.setattr(task_images, "decode", held_up)
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(loader.load, first, TAG)
        assert begun.wait(PATIENCE)
        monkeypatch.setattr(task_images, "decode", decode)
        assert loader.load(small, TAG).pixels.shape == PICTURE.shape
        with monkeypatch.context() as patch:
            for part in (loader, loader._downloads):
                patch.setattr(part, "_limits", hurried)
            with pytest.raises(ImageTurnError, match=r"turn did not come within 2\.5 seconds"):
                loader.load(second, TAG, seconds=80)
        go_on.set()
        assert large.result().pixels.shape == PICTURE.shape
    # its own server did nothing wrong, so it is asked for again
    assert loader.load(second, TAG).pixels.shape == PICTURE.shape


def test_a_large_image_in_its_address_waits_for_other_large_ones(monkeypatch):
    monkeypatch.setattr(image_wait, "LARGE_BYTES", 1000)
    monkeypatch.setattr(image_wait, "LARGE_AT_ONCE", 0)
    loader = images()
    address = "data:image/png;base64," + base64.b64encode(png()).decode()
    assert loader.load(task(address), TAG).pixels.shape == PICTURE.shape
    with pytest.raises(ImageTurnError, match="its turn did not come"):
        loader.load(task(address + "=" * 1000), TAG, seconds=0.01)


@dataclass
class SlowExchange(StandInLabelStudio):
    """Gives an access token once told to go on."""

    go_on: threading.Event = field(default_factory=threading.Event)
    exchanged: list[str] = field(default_factory=list)

    def _refresh(self):
        self.go_on.wait(PATIENCE)
        self.exchanged.append(self.personal_token)
        return super()._refresh()


def test_nobody_waits_for_a_token_longer_than_there_is_time_and_the_next_one_gets_it():
    server = SlowExchange(files={UPLOAD.removeprefix("/data/"): png()})
    loader = images()
    with serving(server.app()) as url:
        label_studio = LabelStudio(url, PERSONAL_TOKEN)
        with pytest.raises(SlowImageError, match=r"task 41, .* longer than 0\.1 seconds"):
            loader.load(task(UPLOAD), TAG, label_studio, seconds=0.1)
        assert server.exchanged == []
        server.go_on.set()
        assert loader.load(task(UPLOAD), TAG, label_studio).pixels.shape == PICTURE.shape
    assert server.exchanged == [PERSONAL_TOKEN]
