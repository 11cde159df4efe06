import socket

import pytest

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
