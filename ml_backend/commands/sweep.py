"""`python -m ml_backend sweep`: delete stored files that nothing needs any more."""

import argparse
import sys

from ml_backend.learning.assembly import Learning, open_kept_learning
from ml_backend.settings import load_settings
from training.store.sweep import sweep
from training.whole_numbers import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--newest-versions",
        type=positive,
        metavar="N",
        help="delete the weights of versions, too, that are neither live nor what a rollback leads "
        "to, wait for no decision and are not among the newest N of their project",
    )


def run(arguments: argparse.Namespace) -> int:
    """Delete them and print how many there were."""
    with open_kept_learning(load_settings()) as learning:
        sweep_files(learning, arguments.newest_versions)
    return 0


def sweep_files(learning: Learning, newest_versions: int | None = None) -> None:
    """Delete stored files that nothing needs, and print how many there were."""
    learning.forget_leftovers()
    swept = sweep(learning.stores, newest_versions)
    sys.stdout.write(f"{swept.deleted} files deleted")
    if swept.young:
        sys.stdout.write(f"; {swept.young} are younger than an hour: sweep again after that")
    sys.stdout.write("\n")
