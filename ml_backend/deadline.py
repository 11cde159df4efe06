"""How long somebody waits: for an answer of a network, or for the file of an image."""

import time
from collections.abc import Callable

from ml_backend.errors import DeadlineError


def _overloaded(seconds: float) -> Exception:
    return DeadlineError(f"no answer within {seconds:g} s: the machine is overloaded")


class Deadline:
    """A moment after which nobody waits any more."""

    def __init__(self, seconds: float, late: Callable[[float], Exception] = _overloaded) -> None:
        """Begin to wait.

        Args:
            seconds: how long.
            late: makes of them the error that `check` raises; a DeadlineError by default.
        """
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._late = late

    def remaining(self) -> float:
        """Return the seconds that are left, 0 when nobody waits any more."""
        return max(0.0, self._until - time.monotonic())

    def at_most(self, seconds: float) -> float:
        """Return that many seconds or what is left; never 0, which would be for ever to some."""
        return max(0.001, min(seconds, self.remaining()))

    def check(self) -> None:
        """Raise an error if nobody waits any more."""
        if self.remaining() == 0:
            raise self._late(self._seconds)
