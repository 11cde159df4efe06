"""What jobs leave on disk: enough to be continued, by nobody else, and not for ever."""

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from ml_backend.learning.fine_tune_jobs import FineTuneJobs, JobRow

_LOG_NAME = "log.txt"


class JobFolders:
    """A folder for each job that began."""

    def __init__(self, folder: Path, jobs: FineTuneJobs) -> None:
        """Make nothing yet.

        Args:
            folder: in which they lie.
            jobs: says which are unfinished.
        """
        self._folder = folder
        self._jobs = jobs

    def make(self, job: JobRow) -> Path:
        """Return where a job keeps what it needs to be continued, and its log.

        Raises:
            OSError: if the folder cannot be made.
        """
        folder = self._folder / _name(job)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, job: JobRow) -> Path:
        """Return the file that a job's log is in, which exists once it began."""
        return self._folder / _name(job) / _LOG_NAME

    def tidy(self) -> None:
        """Delete what no job needs to be continued any more; the logs stay.

        What an ended job leaves is hundreds of megabytes: decoded images, optimiser, candidate.
        """
        # In this order: a folder is made after its job, so that one made meanwhile is not seen.
        found = list(self._folder.glob("*/*"))
        needed = {_name(job) for job in self._jobs.unfinished()}
        for path in found:
            if path.parent.name in needed or path.name == _LOG_NAME:
                continue
            # Another worker may be at it, too, and another user's files may have to stay.
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()

    def delete(self, jobs: Iterable[JobRow]) -> None:
        """Delete all that jobs left, their logs, too."""
        for job in jobs:
            shutil.rmtree(self._folder / _name(job), ignore_errors=True)


def _name(job: JobRow) -> str:
    # A database that was lost or replaced counts its jobs from 1 again: the moment tells them
    # apart, and no job continues one of another database.
    return f"{job.id}-{job.requested_at:%Y%m%dT%H%M%S%f}"
