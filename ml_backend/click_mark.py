"""People who click come first: a fine-tuning job on the same machine holds still for them.

Priorities share the cores of one system out; a GPU knows none between processes, and a container
not those of its neighbour. So whoever answers leaves a mark, the time of a file, and a job looks
at it between two steps.
"""

import contextlib
import time
from pathlib import Path

_STILL_SECONDS = 1.0


class ClickMark:
    """Says when somebody last clicked; shared by the processes that share the folder."""

    def __init__(self, folder: Path) -> None:
        """Use, or make, a file of this folder."""
        self._file = folder / "last-click"

    def leave(self) -> None:
        """Note that somebody is waiting for a mask now."""
        # A full disk must not keep anybody from clicking.
        with contextlib.suppress(OSError):
            self._file.touch()

    def hold_still(self) -> None:
        """Return a second after the last mark: at once if it is older, else a second from now.

        That is the longest it takes, however fast people click, so that a job ends.
        """
        try:
            since = time.time() - self._file.stat().st_mtime
        except OSError:  # nobody has clicked yet
            return
        if 0 <= since < _STILL_SECONDS:
            time.sleep(_STILL_SECONDS - since)
