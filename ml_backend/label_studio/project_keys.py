"""The keys of Label Studio's projects.

Label Studio numbers projects from 1 in every installation, so the number alone would take a new
server's project 2 for the old one's, with its model. Number and time of creation together are the
key, which is also what Label Studio sends to /predict and /setup.
"""

import re
from typing import Any

from training.moments import moment_of

# It appears in log lines, paths and addresses.
_KEY = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
# That anything is kept of in memory: their keys come from outside, and more than this are
# somebody's mistake, or worse.
MOST_PROJECTS = 10_000


def project_key(project: Any) -> str:
    """Return the key of a project as Label Studio describes it, "" where it does not.

    Args:
        project: the object of a webhook, with `id` and `created_at`; or ``<id>.<created at>``.
    """
    key = project if isinstance(project, str) else _key_of_object(project)
    return key if _KEY.fullmatch(key) else ""


def project_number(key: str) -> str:
    """Return Label Studio's number of a project, "" if the text is no key."""
    number = key.partition(".")[0]
    return number if number.isascii() and number.isdecimal() else ""


def created_at(key: str) -> int:
    """Return the second in which the project of a key was made (POSIX time), 0 if it says none."""
    created = key.partition(".")[2]
    return int(created) if created.isdecimal() else 0


def _key_of_object(project: Any) -> str:
    number = project.get("id") if isinstance(project, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return ""
    try:
        return f"{number}.{int(moment_of(str(project['created_at'])).timestamp())}"
    except (KeyError, ValueError, OverflowError):
        return str(number)
