"""People who click come first: a fine-tuning job on the same machine holds still for them.

Priorities share the cores of one system out; a GPU knows none between processes, and a container
not those of its neighbour. So whoever answers leaves a mark, the time of a file, and a job looks
at it between two steps.
"""

import contextlib
from pathlib import Path

_STILL_SECONDS = 1.0


class ClickMark:
    """Says when somebody last clicked; shared by the processes that share the file."""

    def __init__(self, file: Path) -> None:
        """Use, or make, this file."""
        self._file = file

    def leave(self) -> None:
        """Note that somebody is waiting for a mask now."""
        # A full disk must not keep anybody from clicking.
        with contextlib.suppress(OSError):
            self._file.touch()

    def seconds_to_wait(self, now: float) -> float:
        """Return how much of the second after the last click is left, in [0, 1].

        A job that waits that long before each step ends, however fast people click.

        Args:
            now: seconds since the epoch, as `time.time` gives them.
        """
        try:
            since = now - self._file.stat().st_mtime
        except OSError:  # nobody has clicked yet
            return 0.0
        return _STILL_SECONDS - since if 0 <= since < _STILL_SECONDS else 0.0
