"""`python -m ml_backend rollback`, `pin`, `unpin`; and what `promote` shares with them."""

import argparse
import getpass
import os
import sys

from ml_backend.label_studio.project_keys import project_number
from ml_backend.learning.assembly import Learning, open_kept_learning
from ml_backend.learning.live_moves import LiveMove, make_move, reason_in
from ml_backend.settings import load_settings
from training.store.live_pointer import SITE, Mover
from training.store.model_versions import version_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare whose pointer is moved, and why."""
    parser.add_argument(
        "--project", help="number of the project in Label Studio; without it, the site's default"
    )
    parser.add_argument("--reason", default="", help="for the history")


def run(arguments: argparse.Namespace) -> int:
    """Move the pointer as the command is called, and print what is live now."""
    return move(arguments, arguments.command)


def move(arguments: argparse.Namespace, kind: LiveMove, version: int | None = None) -> int:
    """Move the pointer that the arguments name, and print what is live there now.

    Raises:
        RequestError: if the reason is too long.
        VersionError: if that cannot be done.
    """
    with open_kept_learning(load_settings()) as learning:
        project = named_project(learning, arguments.project)
        mover = Mover(_user(), reason_in(vars(arguments), "command"))
        make_move(learning.stores.versions, project, kind, version, mover)
        sys.stdout.write(f"live for {owner_name(project)}: {live_name(learning, project)}\n")
    return 0


def _user() -> str:
    """Return who runs this; containers run as numbers that nobody gave a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def named_project(learning: Learning, name: str | None) -> str:
    """Return the key of the project a person means, the site's where none is named.

    Raises:
        NotFoundError: if no such project was ever seen.
    """
    return SITE if name is None else learning.projects.key_of(name)


def owner_name(project: str) -> str:
    """Return whose pointer it is, in words for people; `project` is a key."""
    return "the site" if project == SITE else f"project {project_number(project)}"


def live_name(learning: Learning, project: str) -> str:
    """Return the name of what is live for a project, in words for people."""
    live = learning.stores.versions.live(project)
    if live is None:
        return "nothing"
    name = version_name(learning.stores.versions.get(live.version))
    return f"{name}{' (pinned)' if live.pinned else ''}{'' if live.own else ' (of the site)'}"
