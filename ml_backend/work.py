"""`python -m ml_backend work`: ingest, fine-tune, reconcile, until it is told to stop."""

import argparse
import logging

from ml_backend.errors import SettingsError
from ml_backend.jobs import declare_tasks, open_queue, require_reachable
from ml_backend.learning import open_learning
from ml_backend.logs import write_logs
from ml_backend.settings import Settings, load_settings
from ml_backend.worker import Worker

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
    """Work until SIGTERM or SIGINT; a running job is given back, to be continued."""
    settings = load_settings()
    write_logs(settings.log_level)
    _require_files(settings)
    learning = open_learning(settings)
    queue = open_queue(settings)
    require_reachable(queue)
    consumer = queue.create_consumer(
        workers=_THREADS, worker_type="thread", max_delay=_LONGEST_POLL_SECONDS
    )
    worker = Worker(learning, consumer.stop_flag)
    declare_tasks(queue, worker).tick()
    if settings.api_key is None:
        logger.warning(_NO_TOKEN)
    logger.info("working: %s", settings.model_dir)
    consumer.run()
    worker.wait_until_jobs_stop()
    learning.close()
    return 0


def _require_files(settings: Settings) -> None:
    """Say now what would fail a job at night."""
    files = {
        "ICMFORMER_FINE_TUNE_RECIPE": settings.fine_tune_recipe,
        "ICMFORMER_RETENTION_SET": settings.retention_set,
    }
    for name, path in files.items():
        if path is not None and not path.exists():
            raise SettingsError(f"{name} is {path}, which does not exist")
