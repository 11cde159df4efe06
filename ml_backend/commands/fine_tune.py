"""`python -m ml_backend fine-tune --project N`: run a job here and now."""

import argparse
import contextlib
import logging
import sys

from ml_backend.errors import JobError
from ml_backend.learning.assembly import Learning, open_kept_learning
from ml_backend.learning.fine_tune_jobs import JobRow, worker_name
from ml_backend.learning.next_job import ask_for_job
from ml_backend.logs import OneLine, write_logs
from ml_backend.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--project", required=True, help="its number in Label Studio")


def run(arguments: argparse.Namespace) -> int:
    """Fine-tune, print what became of it; return 0 unless the job failed or was cancelled.

    Raises:
        KeyboardInterrupt: if it was told to stop; its text says who continues the job.
    """
    settings = load_settings()
    write_logs(settings.log_level)
    with open_kept_learning(settings) as learning:
        job = _claimed(learning, learning.projects.key_of(arguments.project))
        try:
            _do(learning, job)
        except KeyboardInterrupt:
            # Before the job listens to it, such as while torch is imported, or once it has ended.
            with contextlib.suppress(JobError):
                learning.jobs.release(job.id, job.worker)
        ended = learning.jobs.get(job.id)
    if ended.state == "waiting":
        raise KeyboardInterrupt(
            f"job {job.id}: stopped; the worker, or this command, will continue it"
        )
    sys.stdout.write(f"job {job.id}: {_what_became_of(ended)}\n")
    return int(ended.state != "finished")


def _what_became_of(job: JobRow) -> str:
    if job.state == "running":
        return "another worker has taken it over, and continues it"
    return f"{job.result or job.state}: {job.message}"


def _claimed(learning: Learning, project: str) -> JobRow:
    learning.jobs.recover()  # one whose worker died is continued here
    number = ask_for_job(learning, project, "command")
    job = learning.jobs.claim(worker_name(), number)
    if job is None and learning.jobs.get(number).state == "waiting":
        raise JobError(
            f"a job of this project is running already; job {number} waits for it, and the worker "
            "will do it"
        )
    if job is None:
        raise JobError(
            f"job {number} of this project is running already, and nothing is new since it began: "
            "wait for it, or cancel it first"
        )
    return job


def _do(learning: Learning, job: JobRow) -> None:
    # What a worker's job writes goes into this file as well; the page shows its end.
    learning.job_folders.make(job)
    handler = logging.FileHandler(learning.job_folders.log(job))
    handler.setFormatter(OneLine())
    logging.getLogger().addHandler(handler)
    # Importing it imports torch, for which --help and refusals need not wait.
    from ml_backend.learning.job_runner import run_job

    run_job(learning, job)
