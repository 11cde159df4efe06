"""`python -m ml_backend serve`: the backend under gunicorn, configured by the environment."""

import argparse
import logging
import os
import socket
import struct
import sys
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from ml_backend.errors import SettingsError
from ml_backend.local_servers import ports
from ml_backend.settings import child_environment, load_settings, path_prefix

GUNICORN_CONFIGURATION = Path(__file__).parents[1] / "gunicorn.conf.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: every setting is an environment variable, the same in a container."""


def run(arguments: argparse.Namespace) -> int:
    """Become gunicorn, so that signals reach it directly; return only if that fails.

    Raises:
        SettingsError: a setting is unusable, or nothing can listen at the address they name.
    """
    # A bad setting is said once, here, and not by every worker in a loop of restarts.
    settings = load_settings()
    path_prefix()
    # gunicorn would try for five seconds, and not say what to do.
    advice = ports.busy_advice("ICMFORMER_PORT")
    problem = ports.refusal(settings.host, settings.port, advice)
    if problem:
        raise SettingsError(problem)
    command = [sys.executable, "-m", "gunicorn", "--config", str(GUNICORN_CONFIGURATION)]
    os.execve(sys.executable, command, child_environment({}))


def hang_up_on_silence(listening: socket.socket, seconds: int) -> None:
    """Let connections accepted from now on fail where they wait longer for the next bytes.

    gunicorn's threads read without any limit: a few peers that send half a request and vanish
    would take all threads for ever, and /health with them. Between requests nothing changes. Peers
    that connect and send nothing yet, as browsers do in advance, get no thread.

    Args:
        listening: whose connections inherit it, as they do on Linux.
        seconds: of silence, before the first request or in the middle of one.
    """
    limit = struct.pack("ll", seconds, 0)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    if hasattr(socket, "TCP_DEFER_ACCEPT"):  # Linux alone
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)


def catch_up(worker: Any, done: Event) -> None:
    """Have projects compared with Label Studio once a start, not by each process of gunicorn.

    Args:
        worker: one of gunicorn's. One that takes the place of another, which was ready, has missed
            nothing: what Label Studio sent has waited at the socket.
        done: shared by all of them.
    """
    if not done.is_set():
        worker.wsgi.extensions["icmformer"].catch_up()
        done.set()


def say_silence_in_a_line(record: logging.LogRecord) -> bool:
    """Filter of gunicorn's log: no trace for a peer that `hang_up_on_silence` has cut off."""
    if record.exc_info and isinstance(record.exc_info[1], BlockingIOError):
        record.msg = "a client fell silent in the middle of a request; its connection is closed"
        record.args = record.exc_info = None
    return True
