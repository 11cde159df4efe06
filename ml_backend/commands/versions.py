"""`python -m ml_backend versions`: what there is, how it did, and what is live."""

import argparse
import sys
from typing import Any

from ml_backend.commands.live import live_name, named_project, owner_name
from ml_backend.learning.assembly import Learning, open_kept_learning
from ml_backend.settings import load_settings
from training.store.live_pointer import SITE
from training.store.model_versions import version_name
from training.store.version_rows import VersionRow
from training.written_numbers import signed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--project", help="number of the project in Label Studio; default: all")


def run(arguments: argparse.Namespace) -> int:
    """Print one line a version, the newest first, and what is live where."""
    with open_kept_learning(load_settings()) as learning:
        project = named_project(learning, arguments.project)
        for row in learning.stores.versions.usable_by(project):
            sys.stdout.write(f"{_line(row)}\n")
        for key in [project] if project != SITE else [SITE, *_with_their_own(learning)]:
            sys.stdout.write(f"live for {owner_name(key)}: {live_name(learning, key)}\n")
    return 0


def _with_their_own(learning: Learning) -> list[str]:
    """Return the keys of the projects that do not follow the site."""
    keys = [project.key for project in learning.projects.all()]
    return [key for key in keys if (live := learning.stores.versions.live(key)) and live.own]


def _line(row: VersionRow) -> str:
    made = row.created_at.strftime("%Y-%m-%d %H:%MZ")
    maker = owner_name(row.project) if row.project else "no project"
    parent = f"from {row.parent}" if row.parent else "base"
    return (
        f"{row.number:4}  {version_name(row):20} {maker:11}  {made}  {parent:8} {row.verdict:8} "
        f"{_clicks(row.scores)}{'; weights deleted' if row.is_swept else ''}"
    )


def _clicks(scores: dict[str, Any]) -> str:
    change = scores.get("held_out")
    if not change:
        return "not compared"
    saved = signed(-change["share"], "+.1%")
    return f"{change['live']:.2f} to {change['candidate']:.2f} clicks ({saved})"
