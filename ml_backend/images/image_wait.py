"""How long somebody waits for an image, and for whose turn."""

import threading
from types import TracebackType

from ml_backend.deadline import Deadline
from ml_backend.errors import ImageTurnError, SlowImageError

# An ordinary photo is smaller, so it waits for no host of large files, however slow that is.
LARGE_BYTES = 32 << 20
LARGE_AT_ONCE = 4


def large_places() -> threading.BoundedSemaphore:
    """Return as many places as large files may be in memory at once, fetched or being fetched."""
    return threading.BoundedSemaphore(LARGE_AT_ONCE)


class ImageWait(Deadline):
    """A deadline with a place among the large files, if it needs one, until its `with` ends."""

    def __init__(self, seconds: float, large: threading.BoundedSemaphore) -> None:
        """Begin to wait.

        Args:
            seconds: how long.
            large: the places of large files.
        """
        super().__init__(seconds)
        self._large = large
        self._has_place = False

    def make_room(self, nbytes: int) -> None:
        """Wait for a place before more of a file is read, if what has come of it is large.

        Not before: a host that sends slowly would keep a place for a file that it may never send.
        """
        if nbytes > LARGE_BYTES and not self._has_place:
            self.turn(self._large)
            self._has_place = True

    def turn(self, places: threading.BoundedSemaphore) -> None:
        """Take one of some places as soon as there is one.

        Raises:
            ImageTurnError: if nobody waits any more by then.
        """
        if not places.acquire(timeout=min(self.remaining(), threading.TIMEOUT_MAX)):
            raise ImageTurnError(
                f"its turn did not come within {self._seconds:.3g} seconds, as other images were "
                "read before it: try again"
            )

    def __enter__(self) -> None:
        """Begin what may need a place."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the place back."""
        if self._has_place:
            self._has_place = False
            self._large.release()

    def _late(self) -> Exception:
        return SlowImageError(f"it takes longer than {self._seconds:.3g} seconds")
