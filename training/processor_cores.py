"""How many cores this process may keep busy; the machine may have more."""

import os
from pathlib import Path, PurePosixPath

_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return to how many cores affinity and the quota of a container or a service confine us.

    With more threads than that, each waits for the others; and when a quota is used up, all of them
    are stopped until its next tenth of a second.
    """
    # not every system has affinities
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, int(min([pinned or 1, *_quotas()])))


def _quotas() -> list[float]:
    """Return how many cores' time each control group (version 2) that we are in may take."""
    found = []
    for group in _groups():
        try:
            quota, period = (_GROUPS / group / "cpu.max").read_text().split()
        except OSError:  # the outermost has none
            continue
        if quota != "max":
            found.append(int(quota) / int(period))
    return found


def _groups() -> list[PurePosixPath]:
    """Return our control group and all that it is in; a container sees its own as the outermost."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        return []
    own = [PurePosixPath(line.removeprefix("0::/")) for line in lines if line.startswith("0::/")]
    return [group for one in own for group in (one, *one.parents)]
