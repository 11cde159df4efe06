"""`python -m ml_backend run-job JOB WORKER PROCESS`: what a worker starts for each job."""

import argparse
import contextlib
from pathlib import Path

from ml_backend.errors import JobError
from ml_backend.learning.assembly import open_kept_learning
from ml_backend.learning.job_runner import LOWEST_PRIORITY, run_job
from ml_backend.logs import write_logs
from ml_backend.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("job", type=int, help="number of the job")
    parser.add_argument("worker", help="name of the worker that has claimed it")
    # Not whose child this is by now: the worker may be gone before this process can ask.
    parser.add_argument("process", type=int, help="number of that worker's process")


def run(arguments: argparse.Namespace) -> int:
    """Do the job; its row says how it ended."""
    settings = load_settings()
    write_logs(settings.log_level)
    with open_kept_learning(settings) as learning:
        job = learning.jobs.get(arguments.job)
        if job.state != "running" or job.worker != arguments.worker:
            raise JobError(f"job {job.id} is not {arguments.worker}'s")
        _yield_as_a_session()
        run_job(learning, job, watched_by=arguments.process)
    return 0


def _yield_as_a_session() -> None:
    """Lower the priority of this process's session, which a worker made for it.

    Linux may share the cores out between sessions before it looks at priorities within one
    ("autogroup", sched(7)); elsewhere there is nothing to do.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(LOWEST_PRIORITY))
