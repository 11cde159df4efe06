"""`python -m ml_backend versions`: what there is, how it did, and what is live."""

import argparse
import json
import sys
from typing import Any

from ml_backend.commands.live import live_name, named_project, owner_name
from ml_backend.learning.assembly import Learning, open_kept_learning
from ml_backend.learning.learning_facts import version_list
from ml_backend.settings import load_settings
from training.store.live_pointer import SITE
from training.written_numbers import signed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--project", help="number of the project in Label Studio; default: all")
    parser.add_argument(
        "--json", action="store_true", help="what GET /api/projects/NUMBER/versions answers, of all"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line a version, the newest first, and what is live where."""
    with open_kept_learning(load_settings()) as learning:
        project = named_project(learning, arguments.project)
        facts = version_list(learning, project)
        if arguments.json:
            sys.stdout.write(f"{json.dumps(facts)}\n")
            return 0
        for version in facts["versions"]:
            sys.stdout.write(f"{_line(version)}\n")
        for key in [project] if project != SITE else [SITE, *_with_their_own(learning)]:
            sys.stdout.write(f"live for {owner_name(key)}: {live_name(learning, key)}\n")
    return 0


def _with_their_own(learning: Learning) -> list[str]:
    """Return the keys of the projects that do not follow the site."""
    keys = [project.key for project in learning.projects.all()]
    return [key for key in keys if (live := learning.stores.versions.live(key)) and live.own]


def _line(version: dict[str, Any]) -> str:
    made = f"{version['created_at'][:16].replace('T', ' ')}Z"
    maker = owner_name(version["project"]) if version["project"] else "no project"
    parent = f"from {version['parent']}" if version["parent"] else "base"
    marks = {
        "undecided": "waits for a decision",
        "superseded": "superseded",
        "swept": "weights deleted",
    }
    return "; ".join(
        [
            f"{version['version']:4}  {version['name']:20} {maker:11}  {made}  {parent:8} "
            f"{version['verdict']:8} {_clicks(version['scores'])}",
            *(words for mark, words in marks.items() if version[mark]),
        ]
    )


def _clicks(scores: dict[str, Any]) -> str:
    change = scores.get("held_out")
    if not change:
        return "not compared"
    saved = signed(-change["share"], "+.1%")
    return f"{change['live']:.2f} to {change['candidate']:.2f} clicks ({saved})"
