"""Keeps threads free for what must always be answered at once: liveness, webhooks, the page.

A request for masks holds its thread while it waits for its image and for the network. If all
threads waited, Label Studio's one second for /health and for a webhook would pass, and an accepted
mask would be lost.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ml_backend.errors import BusyError

RESERVED_THREADS = 2


class Admission:
    """Lets as many requests for masks in as there are threads to spare."""

    def __init__(self, threads: int) -> None:
        """Spare two of `threads`, which need to be more."""
        self._places = threads - RESERVED_THREADS
        self._free = threading.BoundedSemaphore(self._places)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for the duration of the block.

        Raises:
            BusyError: if none is free; waiting for one would hold a thread, too.
        """
        if not self._free.acquire(blocking=False):
            raise BusyError(
                f"{self._places} requests for masks are waiting already, for the network or for "
                "images: compute on a GPU, mend the server of the images (the log names it), or "
                "set THREADS higher"
            )
        try:
            yield
        finally:
            self._free.release()
