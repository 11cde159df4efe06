"""The real application, a tiny real network, and a server that plays Label Studio."""

import contextlib
import functools
import io
import logging

import numpy as np
import pytest
import torch
from flask import Flask
from jinja2 import StrictUndefined
from PIL import ExifTags, Image

from icmformer import build_model
from icmformer.checkpoint import save_checkpoint
from ml_backend.app import create_app
from ml_backend.learning.assembly import open_learning
from ml_backend.settings import Settings
from tests.ml_backend.label_studio_requests import FIXTURES, recorded
from tests.ml_backend.message_loop import Loop
from tests.ml_backend.stand_in import LEGACY_TOKEN, StandInLabelStudio, serving
from tests.waiting import PATIENCE


def photograph(width, height, orientation=1):
    """A picture with some structure, as a JPEG file; stored turned if EXIF says how to show it."""
    random = np.random.default_rng(width)
    noise = random.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    if orientation == 6:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif)
    return file.getvalue()


@functools.cache
def images_of_the_fixtures():
    """Every image that the recorded requests name, in the size that they say it has."""
    sizes = {}
    for path in sorted(FIXTURES.glob("predict_*.json")):
        body = recorded(path.stem)
        for task in body["tasks"]:
            sizes.setdefault(task["data"]["image"], (481, 321))
        for item in (body["params"]["context"] or {"result": []})["result"]:
            size = item["original_width"], item["original_height"]
            sizes[body["tasks"][0]["data"]["image"]] = size
    return {
        name.removeprefix("/data/"): photograph(*size, orientation=6 if "exif6" in name else 1)
        for name, size in sizes.items()
    }


@pytest.fixture
def label_studio():
    """Label Studio with every image that the recorded requests name; `stop()` takes it away."""
    server = StandInLabelStudio(files=dict(images_of_the_fixtures()))
    with contextlib.ExitStack() as stack:
        server.url = stack.enter_context(serving(server.app()))
        server.stop = stack.close
        yield server


@pytest.fixture(autouse=True)
def _logging_as_before():
    """Commands called in this process log to its standard error, which pytest closes."""
    logger = logging.getLogger()
    before = logger.handlers[:]
    yield
    logger.handlers[:] = before


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """What is given up, or tried again, after some seconds is on a busy machine after minutes."""
    for limit in (
        "connection.connection_checks._TIMEOUT_SECONDS",
        "connection.connections.CHECK_SECONDS",
        "images.task_images.NOT_ASKED_AGAIN_SECONDS",
        "learning.attention._PATIENCE_SECONDS",
        "serving.default_weights.START_SECONDS",
        "serving.model_memory.PRELOAD_SECONDS",
        "serving.model_memory.RETRY_SECONDS",
        "serving.pointer_follower.FIRST_PATIENCE_SECONDS",
        "serving.pointer_follower.LOOK_AGAIN_SECONDS",
        "serving.pointer_follower.PATIENCE_SECONDS",
    ):
        monkeypatch.setattr(f"ml_backend.{limit}", PATIENCE)


@pytest.fixture(scope="session", autouse=True)
def _strict_pages():
    """To people a page without one of its facts is better than none; to a test it is a mistake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {"undefined": StrictUndefined})
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny network whose masks are neither empty nor full."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = build_model("tiny")
    save_checkpoint(model, path)
    return path


@pytest.fixture
def settings(tmp_path, checkpoint, label_studio):
    return Settings(
        model_dir=tmp_path / "state",
        checkpoint=checkpoint,
        label_studio_url=label_studio.url,
        label_studio_api_key=LEGACY_TOKEN,
        torch_threads=1,
    )


@pytest.fixture
def learning(settings):
    learning = open_learning(settings)
    yield learning
    learning.close()


@pytest.fixture
def app(settings):
    return create_app(settings)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def loop(tmp_path):
    """The parts of the learning loop that deal with messages, on a fresh folder."""
    loop = Loop(tmp_path)
    yield loop
    loop.database.close()
