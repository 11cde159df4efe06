"""A store that speaks the protocol of S3, but is busy or hangs; s3fs is no part of the project."""

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from training.errors import FileStoreError
from training.store import stored_files
from training.store.stored_files import StoredFiles

pytest.importorskip("s3fs")

KEY = "masks/ab/abc.png"


class Server(ThreadingHTTPServer):
    """Holds one file; answers with the statuses `busy` first, and what is `silent` not at all."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.busy, self.silent = [], ()
        self.asked, self.ends = [], threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = self.server.busy.pop(0) if self.server.busy else 200
        self._answer(status, b"content" if status == 200 else b"<html>busy</html>")

    def do_HEAD(self):
        self._answer(200, b"content")

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"")

    def handle_expect_100(self):
        if "PUT" in self.server.silent:
            self.server.ends.wait()
        return super().handle_expect_100()

    def _answer(self, status, body):
        self.server.asked.append(self.command)
        if self.command in self.server.silent:
            self.server.ends.wait()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 10:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.ends.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(server, tmp_path, monkeypatch):
    """Return a function that opens the store with further settings of a user for s3fs."""

    def opened(**users_own):
        access = {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "key": "a"}
        monkeypatch.setitem(fsspec.config.conf, "s3", {**access, "secret": "b", **users_own})
        return StoredFiles("s3://bucket/prefix", tmp_path)

    return opened


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_store_that_is_busy_for_a_moment_is_asked_again(server, opened, status):
    server.busy = [status]
    assert opened().read(KEY) == b"content"
    assert server.asked == ["HEAD", "GET", "GET"]


def test_one_that_stays_busy_is_given_up(server, opened):
    server.busy = [503] * 99
    with pytest.raises(FileStoreError, match="cannot be read"):
        opened(config_kwargs={"retries": {"total_max_attempts": 2}}).read(KEY)
    assert server.asked == ["HEAD", "GET", "GET"]


@pytest.mark.parametrize("silent", [("HEAD", "GET", "PUT"), ("GET", "PUT")])
def test_one_that_hangs_is_given_up_whatever_s3fs_would_try(server, opened, monkeypatch, silent):
    files = opened()
    files.write(KEY, b"content")
    monkeypatch.setattr(stored_files, "_PATIENCE_SECONDS", 0.3)
    server.silent = silent
    for ask in (files.read, partial(files.write, content=b"content"), files.keys):
        with pytest.raises(FileStoreError, match="the store does not answer"):
            ask(KEY)
