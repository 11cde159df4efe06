"""A job whose worker was killed gives itself back, however early that was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ml_backend.learning.worker.disc_tasks import PROJECT, deliver

ROOT = Path(__file__).parents[4]


@pytest.mark.slow
def test_a_job_whose_worker_was_gone_before_it_began_gives_itself_back(
    environment, learning, worker, server
):
    deliver(learning, server, *range(12))
    worker.ingest()
    job = learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("w")
    killed = subprocess.Popen(["true"])
    killed.wait()
    ended = subprocess.run(
        [sys.executable, "-m", "ml_backend", "run-job", str(job), "w", str(killed.pid)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
        start_new_session=True,  # as a worker starts it: it lowers the priority of its session
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    row = learning.jobs.get(job)
    assert (row.state, row.attempts) == ("waiting", 0)
