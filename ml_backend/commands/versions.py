"""`python -m ml_backend versions`: what there is, how it did, and what is live."""

import argparse
import sys
from typing import Any

from ml_backend.commands.live import live_name, named_project
from ml_backend.learning import open_learning
from ml_backend.settings import load_settings
from training.model_versions import version_name
from training.version_rows import VersionRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--project", help="number of the project in Label Studio; default: all")


def run(arguments: argparse.Namespace) -> int:
    """Print one line a version, the newest first, and what is live."""
    learning = open_learning(load_settings())
    project = named_project(learning, arguments.project)
    for row in learning.stores.versions.usable_by(project):
        sys.stdout.write(f"{_line(row)}\n")
    sys.stdout.write(f"live: {live_name(learning, project)}\n")
    learning.close()
    return 0


def _line(row: VersionRow) -> str:
    made = row.created_at.strftime("%Y-%m-%d %H:%M")
    parent = f"from {row.parent}" if row.parent else "base"
    return f"{version_name(row):12} {made}  {parent:8} {row.verdict:8} {_clicks(row.scores)}"


def _clicks(scores: dict[str, Any]) -> str:
    change = scores.get("held_out")
    if not change:
        return "not compared"
    return f"{change['live']:.2f} → {change['candidate']:.2f} clicks ({0 - change['share']:+.1%})"
