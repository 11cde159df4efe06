"""`python -m ml_backend reconcile`: compare the samples with Label Studio, and mend them."""

import argparse
import sys
import threading

from ml_backend.learning.assembly import open_kept_learning
from ml_backend.learning.worker import Worker
from ml_backend.logs import write_logs
from ml_backend.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--project", help="number of the project in Label Studio; default: all")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found, one line a project; return 1 if one could not be compared."""
    settings = load_settings()
    write_logs(settings.log_level)
    with open_kept_learning(settings) as learning:
        named = arguments.project
        wanted = None if named is None else learning.projects.key_of(named)
        worker = Worker(learning, threading.Event())
        failed = False
        known = learning.projects.all()
        if not known:
            sys.stdout.write("no project has connected yet\n")
        for project in known:
            if wanted in (None, project.key):
                found = worker.reconcile(project)
                sys.stdout.write(f"project {project.number}: {found.sentence}\n")
                failed |= not found.succeeded
    return int(failed)
