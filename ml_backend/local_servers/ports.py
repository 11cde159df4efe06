"""Which port a server that is started here takes."""

import argparse
import errno
import socket

from ml_backend.errors import LocalServerError

_LOOPBACK = "127.0.0.1"
_TRIES = 50


def given_port(text: str) -> int:
    """Return the number of a port; a `type` for argparse.

    Raises:
        argparse.ArgumentTypeError: if there is no such port.
    """
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text} is no number of a port, from 1 to 65535")
    return int(text)


def busy_advice(setting: str) -> str:
    """Say what to do about a busy port that `setting` replaces by another."""
    return f"stop the program that listens there or choose another port ({setting}=…)"


def refusal(host: str, port: int, advice: str) -> str | None:
    """Say why no server could listen at an address now, and what to do; None if one could.

    Args:
        host: an IPv6 address without brackets, or an IPv4 address, or the name of one.
        port: above 0.
        advice: what to do where the port is busy.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # as the servers do: a port that lingers in TIME_WAIT counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except socket.gaierror as error:  # its numbers mean something else
        return _not_ours(host, error.strerror)
    except (UnicodeError, TypeError):
        return _not_ours(host, "it cannot be a name")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _busy(host, port, advice)
        if error.errno == errno.EACCES:
            return f"Port {port} needs more rights than this user has: choose one from 1024 upwards"
        return _not_ours(host, error.strerror)
    return None


def _busy(host: str, port: int, advice: str) -> str:
    return f"Port {port} of {host} is busy: {advice}"


def _not_ours(host: str, reason: str | None) -> str:
    return (
        f"{host} is no address of this machine ({reason}): choose another ICMFORMER_HOST, "
        "127.0.0.1 for this machine alone or 0.0.0.0 for every interface"
    )


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
        find = _busy if wanted == taken else refusal
        problem = find(_LOOPBACK, wanted, advice)
        if problem:
            raise LocalServerError(f"{problem}, or name none to get a free one.")
        return wanted
    for port in range(default, default + _TRIES):
        if port != taken and not refusal(_LOOPBACK, port, advice):
            return port
    last = default + _TRIES - 1
    raise LocalServerError(f"None of the ports {default} to {last} is free: {advice}.")
