"""A port for a program that a test starts."""

import socket
from contextlib import contextmanager


@contextmanager
def held_port():
    """Give a port of this machine that nobody else is given until the block is left.

    It is bound, and a server that sets SO_REUSEADDR, as servers do, may listen there all the same.
    """
    with socket.socket() as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind(("127.0.0.1", 0))
        yield holding.getsockname()[1]
