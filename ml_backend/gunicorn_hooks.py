"""What gunicorn.conf.py has done while gunicorn begins to listen, loads a worker, and logs."""

import logging
import os
import socket
import struct
from multiprocessing.synchronize import Event
from typing import Any


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


def leave(worker: Any) -> None:
    """Close what a worker has open, and do not wait for a network that hangs.

    SQLite's logs, which hold what was deleted, go with the last that closes a database. Python
    waits for its threads when it ends, and gunicorn a minute more before it kills such a worker.

    Args:
        worker: one of gunicorn's, which has answered its last request.
    """
    backend = worker.wsgi.extensions["icmformer"]
    backend.learning.close()
    if backend.queue.hangs:
        os._exit(0)


def say_silence_in_a_line(record: logging.LogRecord) -> bool:
    """Filter of gunicorn's log: no trace for a peer that `hang_up_on_silence` has cut off."""
    if record.exc_info and isinstance(record.exc_info[1], BlockingIOError):
        record.msg = "a client fell silent in the middle of a request; its connection is closed"
        record.args = record.exc_info = None
    return True
