"""What `python -m ml_backend latency` does: servers, annotators, and a row for each situation."""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ml_backend.errors import LocalServerError
from ml_backend.latency.image_server import image_server, shown_images
from ml_backend.latency.traffic import CROWD, Annotators, Traffic
from ml_backend.local_servers import backend_server, ports

_PATIENCE_SECONDS = 3600.0  # a job judges before it trains: minutes on two slow cores
# What the worker may do by itself would disturb the comparison.
_QUIET = {
    "ICMFORMER_FINE_TUNE_AFTER": "0",
    "ICMFORMER_FINE_TUNE_SCHEDULE": "",
    "ICMFORMER_RECONCILE_MINUTES": "0",
}


def start(data: Path, state: Path | None, running: ExitStack) -> Annotators:
    """Start backend and worker, which leaving `running` stops; return who will use them.

    Args:
        data: folder of images and masks to click on.
        state: where to keep the state and the logs; None for a folder that goes afterwards.
        running: takes what has to be stopped.

    Raises:
        LocalServerError: something cannot start.
        DatasetError: the folder is no such data.
    """
    kept = state or Path(running.enter_context(tempfile.TemporaryDirectory()))
    images = shown_images(data)
    address = running.enter_context(image_server(images))
    port = ports.choose(None, 9190, "stop a program that listens there")
    settings = {**_QUIET, "LABEL_STUDIO_URL": address, "LABEL_STUDIO_API_KEY": "0" * 40}
    server = backend_server.start(kept / "model", port, kept / "backend.log", settings)
    running.callback(server.stop)
    backend_server.wait_until_ready(server, port)
    worker = backend_server.start_worker(kept / "model", kept / "worker.log", settings)
    running.callback(worker.stop)
    return Annotators(backend_server.url(port), images)


def measure(annotators: Annotators, seconds: float) -> None:
    """Print one row for each situation, each measured for so long.

    Raises:
        LocalServerError: a job does not train.
    """
    sys.stdout.write(f"{'what':44} {'n':>5} {'median':>8} {'p99':>8} {'max':>8} ms   failed\n")
    annotators.warm_up()
    _row("clicks, idle", annotators.click_calmly(seconds))
    _row("webhooks, idle", annotators.send_webhooks(seconds))
    with annotators.crowd():
        _row(f"webhooks, {CROWD} annotators click", annotators.send_webhooks(seconds))
    _wait_until_stored(annotators)
    job = annotators.start_job()
    sys.stderr.write("a job judges before it trains, which can take ten minutes …\n")
    _wait_for_training(annotators, job)
    _row("clicks, a job trains", annotators.click_calmly(seconds))
    with annotators.crowd():
        _row(f"webhooks, a job trains, {CROWD} annotators", annotators.send_webhooks(seconds))
    stage, done, total = annotators.progress(job)
    sys.stdout.write(f"the job was at: {stage}, {done} of {total}\n")
    annotators.cancel(job)


def _wait_until_stored(annotators: Annotators) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not annotators.all_stored():
        if time.monotonic() > deadline:
            raise LocalServerError("the worker did not store the masks; see --state for its log")
        time.sleep(0.5)


def _wait_for_training(annotators: Annotators, job: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    stage, done, _ = annotators.progress(job)
    while stage != "training" or done < 2:
        if stage == "ended" or time.monotonic() > deadline:
            raise LocalServerError(f"job {job} did not begin to train; see --state for its log")
        time.sleep(0.5)
        stage, done, _ = annotators.progress(job)


def _row(title: str, traffic: Traffic) -> None:
    took = 1000 * np.array(traffic.seconds)
    sys.stdout.write(
        f"{title:44} {len(took):5} {np.median(took):8.1f} {np.percentile(took, 99):8.1f} "
        f"{took.max():8.1f}      {traffic.failed}\n"
    )
    sys.stdout.flush()
