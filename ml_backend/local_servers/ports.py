"""Which port a server that is started here takes."""

import argparse
import socket

from ml_backend.errors import LocalServerError

_TRIES = 50


def given_port(text: str) -> int:
    """Return the number of a port; a `type` for argparse.

    Raises:
        argparse.ArgumentTypeError: if there is no such port.
    """
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text} is no number of a port, from 1 to 65535")
    return int(text)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # as the servers do: a port that lingers in TIME_WAIT counts as free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(wanted: int | None, default: int, advice: str, taken: int | None = None) -> int:
    """The port asked for, or else the first free one from `default` upwards.

    Args:
        wanted: what the user asked for, if anything; it is never replaced silently.
        default: where the search starts when nothing was asked for.
        advice: what to do where none can be had, for the message.
        taken: a port already promised to another server.

    Raises:
        LocalServerError: the wanted port is busy, or no port near the default is free.
    """
    if wanted is not None:
        if wanted == taken or not is_free(wanted):
            raise LocalServerError(
                f"Port {wanted} is busy: {advice}, or name none to get a free one."
            )
        return wanted
    for port in range(default, default + _TRIES):
        if port != taken and is_free(port):
            return port
    last = default + _TRIES - 1
    raise LocalServerError(f"None of the ports {default} to {last} is free: {advice}.")
