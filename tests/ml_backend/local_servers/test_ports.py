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
    sentence = rf"^Port {busy} of 127\.0\.0\.1 is busy: NAME=…, or name none "
    with pytest.raises(LocalServerError, match=sentence):
        ports.choose(busy, 8080, "NAME=…")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_is_refused_while_another_program_listens_there(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"needs {host}")
    with server as listening:
        address = listening.getsockname()[:2]
        assert ports.refusal(*address, "do this") == f"Port {address[1]} of {host} is busy: do this"
        # a connection that this side ends lingers
        with socket.create_connection(address):
            listening.accept()[0].close()
    assert ports.refusal(*address, "do this") is None


# of nobody, of nothing, and what cannot be looked up
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "nobody.invalid", "é..x"])
def test_a_host_that_is_not_this_machine_is_refused(host):
    assert ports.refusal(host, 9090, "").startswith(f"{host} is no address of this machine (")


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
