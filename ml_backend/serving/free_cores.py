"""How many cores other programs leave to the network.

A pass of the network is made of hundreds of short pieces, and after each its threads wait for one
another. With a core for every thread, two are faster than one; where one has to share its core with
another program, all wait for it, and two are slower than one. So each piece of work takes as many
threads as there are cores that do nothing else. docs/experiments.md has what it gives.
"""

import os
import time
from pathlib import Path

# … of them "1/230": how many threads want a core now, and how many there are
_LOAD = Path("/proc/loadavg")
# What wants a core for a moment only, as the thread that brought the work, leaves it meanwhile.
_LOOKS = 4
_SECONDS_BETWEEN = 0.001


def free_cores(most: int) -> int:
    """Return how many of the machine's cores nobody but the caller wants, from 1 to `most`.

    Takes some milliseconds where they are wanted. Where the system does not tell (other than
    Linux), it is `most`.
    """
    free = _free_now(most)
    for _ in range(_LOOKS - 1):
        if free >= most:
            break
        time.sleep(_SECONDS_BETWEEN)
        free = max(free, _free_now(most))
    return max(1, min(free, most))


def _free_now(most: int) -> int:
    try:
        running, _, _ = _LOAD.read_text().split()[3].partition("/")
        return (os.cpu_count() or most) - int(running) + 1
    except (OSError, ValueError, IndexError):
        return most
