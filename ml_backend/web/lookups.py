"""Finds the job or version that an address or a request names, or says that it does not exist."""

import re
from collections.abc import Mapping

from ml_backend.errors import JobError, NotFoundError, RequestError
from ml_backend.learning.assembly import Learning
from ml_backend.learning.fine_tune_jobs import JobRow
from training.errors import VersionError
from training.store.live_pointer import SITE
from training.store.version_rows import VersionRow


def find_number(values: Mapping[str, str], name: str) -> int | None:
    """Return a number of a form or an address; None where it has none of this name.

    Raises:
        RequestError: if it is no whole number.
    """
    text = values.get(name)
    # Taken for none, a state that cannot be read would let a move happen that it guards.
    if text is not None and not re.fullmatch("[0-9]{1,18}", text):
        raise RequestError(f'"{name}" must be a whole number')
    return None if text is None else int(text)


def find_job(learning: Learning, number: int, project: str | None = None) -> JobRow:
    """Return a job.

    Args:
        learning: the stores.
        number: of the job.
        project: key of the project that it must belong to; any by default.

    Raises:
        NotFoundError: if there is no such job.
    """
    try:
        job = learning.jobs.get(number)
    except JobError as error:
        raise NotFoundError(str(error)) from error
    if project not in (None, job.project):
        raise NotFoundError(f"job {number} is another project's")
    return job


def find_version_to_show(learning: Learning, number: int, project: str) -> VersionRow:
    """Return a version that a project may use, or that such a one descends from.

    Raises:
        NotFoundError: if there is no such version, or it is none of the project's concern.
    """
    version = find_version(learning, number)
    if not learning.stores.versions.is_in_line(project, number):
        raise NotFoundError(f"version {number} was made for another project")
    return version


def find_version(learning: Learning, number: int, project: str = SITE) -> VersionRow:
    """Return a version.

    Args:
        learning: the stores.
        number: of the version.
        project: key of the project that is to use it; the site may use every version.

    Raises:
        NotFoundError: if there is no such version, or the project cannot use it.
    """
    versions = learning.stores.versions
    try:
        version = versions.get(number)
    except VersionError as error:
        raise NotFoundError(str(error)) from error
    if not versions.may_use(project, number):
        raise NotFoundError(f"version {number} was made for another project")
    return version
