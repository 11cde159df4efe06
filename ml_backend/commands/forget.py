"""`python -m ml_backend forget`: delete everything that is kept of a project."""

import argparse
import sys

from ml_backend.commands.sweep import sweep_files
from ml_backend.learning.assembly import Learning, open_kept_learning
from ml_backend.settings import load_settings
from training.store.sample_overview import sample_counts
from training.written_numbers import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which project, and that it is meant."""
    parser.add_argument(
        "--project", required=True, help="number of the project in Label Studio, or its key"
    )
    parser.add_argument("--yes", action="store_true", help="do it instead of saying what would go")


def run(arguments: argparse.Namespace) -> int:
    """Delete the project's masks, images, jobs and versions, or say which there are.

    Raises:
        NotFoundError: if no such project was ever seen.
        JobError: if a job of it runs.
    """
    with open_kept_learning(load_settings()) as learning:
        project = learning.projects.named(arguments.project)
        if arguments.yes:
            _forget(learning, project.key)
        else:
            sys.stdout.write(
                f"project {project.number} ({project.title or 'without a title'}): "
                f"{_kept(learning, project.key)}; --yes deletes them, but for versions that "
                "have served elsewhere or are a parent\n"
            )
    return 0


def _kept(learning: Learning, project: str) -> str:
    samples = sample_counts(learning.stores.database, project)
    versions = learning.stores.versions.usable_by(project)
    own = sum(row.project == project for row in versions)
    masks, images = counted(samples.samples, "mask"), counted(samples.images, "image")
    return f"{masks} on {images}, {counted(own, 'version')}, its jobs"


def _forget(learning: Learning, project: str) -> None:
    for number in learning.forget(project):
        swept = learning.stores.versions.get(number).is_swept
        what = f"what is known of version {number}" if swept else f"version {number}"
        sys.stdout.write(f"{what} stays: it has served elsewhere, or is a parent\n")
    sweep_files(learning)
