"""How long somebody waits: for an answer of a network, or for the file of an image."""

import time

from ml_backend.errors import DeadlineError


class Deadline:
    """A moment after which nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        """Begin to wait for so long."""
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left, 0 when nobody waits any more."""
        return max(0.0, self._until - time.monotonic())

    def at_most(self, seconds: float) -> float:
        """Return that many seconds or what is left; never 0, which would be for ever to some."""
        return max(0.001, min(seconds, self.remaining()))

    def check(self) -> None:
        """Raise an error if nobody waits any more."""
        if self.remaining() == 0:
            raise self._late()

    def _late(self) -> Exception:
        return DeadlineError(f"no answer within {self._seconds:g} s: the machine is overloaded")
