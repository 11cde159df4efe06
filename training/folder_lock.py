"""A folder in which one process works at a time."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path, refusal: Exception) -> Iterator[None]:
    """Make a folder, and let no other process lock it meanwhile, on any machine.

    Where a file system knows no locks, nobody is kept off.

    Args:
        folder: gets a file named "lock".
        refusal: raised if another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            # Not flock: processes that were forked meanwhile, as to prepare samples, would hold on
            # to it for some seconds after this one was killed.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise refusal from error
        yield
