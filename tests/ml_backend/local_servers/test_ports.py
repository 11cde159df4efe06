import contextlib
import socket

import pytest

from ml_backend.errors import LocalServerError
from ml_backend.local_servers import ports


@pytest.fixture
def busy():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_busy_port_that_was_asked_for_is_not_replaced(busy):
    with pytest.raises(LocalServerError, match=rf"^Port {busy} is busy: NAME=…, or name none "):
        ports.choose(busy, 8080, "NAME=…")


def test_busy_default_gives_the_next_free_one(busy):
    assert busy < ports.choose(None, busy, "NAME=…") < busy + 50


def test_without_a_free_port_the_caller_says_what_to_do():
    with contextlib.ExitStack() as listeners:
        for port in range(24000, 24050):
            listener = listeners.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # somebody else has it
                listener.bind(("127.0.0.1", port))
                listener.listen()
        with pytest.raises(LocalServerError, match=r"24000 to 24049 is free: stop one\.$"):
            ports.choose(None, 24000, "stop one")


def test_two_servers_never_get_one_port():
    first = ports.choose(None, 23456, "FIRST=…")
    assert ports.choose(None, first, "SECOND=…", taken=first) != first
    with pytest.raises(LocalServerError):
        ports.choose(first, 8080, "SECOND=…", taken=first)
