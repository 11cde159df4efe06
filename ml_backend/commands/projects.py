"""`python -m ml_backend projects`: what is known of each project, and what waits for a person."""

import argparse
import json
import sys
from typing import Any

from ml_backend.learning.assembly import open_kept_learning
from ml_backend.learning.learning_facts import project_list
from ml_backend.settings import load_settings
from training.written_numbers import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--json", action="store_true", help="what GET /api/projects answers")


def run(arguments: argparse.Namespace) -> int:
    """Print one line a project, the one heard of last first, and whether a worker is missed."""
    with open_kept_learning(load_settings()) as learning:
        facts = project_list(learning)
    if arguments.json:
        sys.stdout.write(f"{json.dumps(facts)}\n")
        return 0
    for project in facts["projects"]:
        needs = "; ".join(_needs(project["needs_you"])) or "nothing waits for you"
        masks = counted(project["samples"]["total"], "mask")
        live = project["live"]["name"] if project["live"] else "nothing"
        sys.stdout.write(
            f"{project['number']:>4}  {project['title']}: {masks}, serves {live}; {needs}\n"
        )
    if not facts["projects"]:
        sys.stdout.write("no project has connected yet\n")
    if facts["worker"]["problem"]:
        sys.stdout.write(f"{facts['worker']['problem']}\n")
    return 0


def _needs(need: dict[str, Any]) -> list[str]:
    """Return what a project needs a person for, part by part."""
    parts = [f"version {number} waits for a decision" for number in need["versions"]]
    if need["failed_job"]:
        parts.append(f"job {need['failed_job']} failed: {need['failure']}")
    if need["gone"]:
        parts.append("Label Studio has it no more, or does not show it to this account")
    return parts
