"""One training at a time in a run folder: two would overwrite each other's states."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import RecipeError


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder, and let no other process hold it meanwhile, on any machine.

    Raises:
        RecipeError: if another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            # Not flock, which processes that prepare samples would hold on to for some seconds.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems know no locks; then nobody is kept off.
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise RecipeError(
                    f"another training is running in {folder}: wait for it, or choose another run "
                    "folder"
                ) from error
        yield
