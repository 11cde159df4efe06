"""`python -m ml_backend work`: ingest, fine-tune, reconcile, until it is told to stop."""

import argparse
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

from ml_backend.errors import SettingsError
from ml_backend.learning.assembly import open_learning
from ml_backend.learning.job_process import how_it_ended
from ml_backend.learning.queue_log import shorten_queue_log
from ml_backend.learning.work_queue import declare_tasks, open_queue, require_reachable
from ml_backend.learning.worker import Worker
from ml_backend.logs import write_logs
from ml_backend.settings import Settings, child_environment, load_settings
from training.errors import DatasetError
from training.fine_tuning.retention import retention_folders

logger = logging.getLogger(__name__)

# One thread may watch a job for hours, one may list a project for minutes.
_THREADS = 4
_LONGEST_POLL_SECONDS = 1.0
_NO_TOKEN = (
    "LABEL_STUDIO_API_KEY is not set: what /setup brings stays in the serving process, so nothing "
    "is learned from images that Label Studio keeps; set it and LABEL_STUDIO_URL for the worker"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: every setting is an environment variable, the same in a container."""


def run(arguments: argparse.Namespace) -> int:
    """Work until SIGTERM, SIGINT or SIGHUP; a running job is given back, to be continued."""
    settings = load_settings()
    write_logs(settings.log_level)
    shorten_queue_log()
    _require_usable(settings)
    with open_learning(settings) as learning:
        queue = open_queue(settings)
        require_reachable(queue)
        consumer = queue.create_consumer(
            workers=_THREADS, worker_type="thread", max_delay=_LONGEST_POLL_SECONDS
        )
        # huey would begin anew, by running __main__.py as a file, which finds no package around it.
        consumer._signal_actions[signal.SIGHUP] = (False, False)
        worker = Worker(learning, consumer.stop_flag)
        declare_tasks(queue, worker).tick()
        if settings.api_key is None:
            logger.warning(_NO_TOKEN)
        threading.Thread(target=worker.look_for_jobs, name="jobs", daemon=True).start()
        logger.info("working: %s", settings.model_dir)
        consumer.run()
        worker.wait_until_jobs_stop()
    return 0


def _require_usable(settings: Settings) -> None:
    """Say now what would fail a job at night.

    Raises:
        SettingsError: if the recipe or the retention set does not exist, or jobs cannot use it.
    """
    files = {
        "ICMFORMER_FINE_TUNE_RECIPE": settings.fine_tune_recipe,
        "ICMFORMER_RETENTION_SET": settings.retention_set,
    }
    for name, path in files.items():
        if path is not None and not path.exists():
            raise SettingsError(f"{name} is {path}, which does not exist")
    if settings.retention_set is not None:
        _require_images(settings.retention_set)
    if settings.fine_tune_recipe is not None:
        _require_recipe()


def _require_images(retention_set: Path) -> None:
    try:
        retention_folders(retention_set)
    except DatasetError as error:
        raise SettingsError(f"ICMFORMER_RETENTION_SET: {error}") from error


def _require_recipe() -> None:
    # What knows every setting of a recipe imports torch, which this process does without.
    checked = subprocess.run(
        [sys.executable, "-m", "ml_backend", "check-recipe"],
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode < 0:
        raise SettingsError(
            f"the check of ICMFORMER_FINE_TUNE_RECIPE {how_it_ended(checked.returncode)}"
        )
    if checked.returncode:
        problem = checked.stderr.strip() or f"its check ended with status {checked.returncode}"
        raise SettingsError(f"ICMFORMER_FINE_TUNE_RECIPE: {problem}")
