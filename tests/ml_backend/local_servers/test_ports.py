import contextlib
import socket

import pytest

from ml_backend.errors import LocalServerError
from ml_backend.local_servers import ports


@contextlib.contextmanager
def busy_ports(count):
    """Listen on so many ports in a row, which nobody else has; give the first of them."""
    with contextlib.ExitStack() as listeners:
        for first in range(24000, 60000, count):
            with contextlib.suppress(OSError):
                for port in range(first, first + count):
                    listener = listeners.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port))
                    listener.listen()
                break
            listeners.close()  # somebody else has one of them
        yield first


@pytest.fixture
def busy():
    with busy_ports(1) as port:
        yield port


def test_busy_port_that_was_asked_for_is_not_replaced(busy):
    with pytest.raises(LocalServerError, match=rf"^Port {busy} is busy: NAME=…, or name none "):
        ports.choose(busy, 8080, "NAME=…")


def test_busy_default_gives_the_next_free_one(busy):
    assert busy < ports.choose(None, busy, "NAME=…") < busy + 50


def test_without_a_free_port_the_caller_says_what_to_do():
    with (
        busy_ports(50) as first,
        pytest.raises(LocalServerError, match=rf"{first} to {first + 49} is free: stop one\.$"),
    ):
        ports.choose(None, first, "stop one")


def test_two_servers_never_get_one_port():
    first = ports.choose(None, 23456, "FIRST=…")
    assert ports.choose(None, first, "SECOND=…", taken=first) != first
    with pytest.raises(LocalServerError):
        ports.choose(first, 8080, "SECOND=…", taken=first)
