"""A small real Label Studio stand-in over HTTP, a tiny real network, and the real application."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from icmformer import build_model
from icmformer.checkpoint import save_checkpoint
from ml_backend.app import create_app
from ml_backend.settings import Settings
from tests.ml_backend.label_studio_requests import FIXTURES, recorded

TOKEN = "0123456789abcdef0123456789abcdef01234567"


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
        name: photograph(*size, orientation=6 if "exif6" in name else 1)
        for name, size in sizes.items()
    }


class FileServer:
    """Serves files as Label Studio serves uploads: with the token, or 401."""

    def __init__(self):
        self.files = {}
        self.requests = []
        self.token = TOKEN
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def answer(self, handler):
        self.requests.append(handler.path)
        if handler.headers.get("Authorization") != f"Token {self.token}":
            return self._send(handler, 401, b'{"detail": "Invalid token."}')
        if handler.path.startswith("/api/projects/"):
            number = int(handler.path.split("/")[3])
            return self._send(handler, 200, json.dumps({"id": number}).encode())
        content = self.files.get(handler.path)
        if content is None:
            return self._send(handler, 404, b"{}")
        return self._send(handler, 200, content)

    def _send(self, handler, status, content):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def label_studio():
    server = FileServer()
    server.files.update(images_of_the_fixtures())
    yield server
    server.stop()


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
        label_studio_api_key=TOKEN,
        torch_threads=1,
    )


@pytest.fixture
def app(settings):
    return create_app(settings)


@pytest.fixture
def client(app):
    return app.test_client()
