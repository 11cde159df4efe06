import resource
import socket
import stat

import pytest

from ml_backend.demo.credentials import load_or_create
from ml_backend.errors import DemoError
from ml_backend.local_servers import ports


@pytest.fixture
def busy():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_busy_port_that_was_asked_for_is_not_replaced(busy):
    with pytest.raises(DemoError, match=rf"Port {busy} is busy.*NAME=…"):
        ports.choose(busy, 8080, "NAME")


def test_busy_default_gives_the_next_free_one(busy):
    assert busy < ports.choose(None, busy, "NAME") < busy + 50


def test_two_servers_never_get_one_port():
    first = ports.choose(None, 23456, "FIRST")
    assert ports.choose(None, first, "SECOND", taken=first) != first
    with pytest.raises(DemoError):
        ports.choose(first, 8080, "SECOND", taken=first)


def test_credentials_are_made_once_and_kept_private(tmp_path):
    path = tmp_path / "demo" / "credentials.json"
    first = load_or_create(path)
    assert load_or_create(path) == first
    assert len(first.token) == 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_credentials_for_which_the_disk_had_no_room_are_made_anew(tmp_path):
    path = tmp_path / "credentials.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            load_or_create(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_or_create(path) == load_or_create(path)
    assert list(tmp_path.iterdir()) == [path]
