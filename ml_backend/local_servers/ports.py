"""Which port a server of the demo takes."""

import socket

from ml_backend.errors import DemoError

_TRIES = 50


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


def choose(wanted: int | None, default: int, variable: str, taken: int | None = None) -> int:
    """The port asked for, or else the first free one from `default` upwards.

    Args:
        wanted: what the user asked for, if anything; it is never replaced silently.
        default: where the search starts when nothing was asked for.
        variable: the name under which the user asks, for the message.
        taken: a port already promised to another server of the demo.

    Raises:
        DemoError: the wanted port is busy, or no port near the default is free.
    """
    if wanted is not None:
        if wanted == taken or not is_free(wanted):
            raise DemoError(
                f"Port {wanted} is busy. Stop the program that listens there, choose another "
                f"({variable}=…), or leave {variable} away to get a free one."
            )
        return wanted
    for port in range(default, default + _TRIES):
        if port != taken and is_free(port):
            return port
    raise DemoError(
        f"None of the ports {default} to {default + _TRIES - 1} is free; choose one ({variable}=…)."
    )
