"""Serving processes as they ship: they follow the live pointer, and lose nothing when killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import requests
import torch

from icmformer import build_model, save_checkpoint
from ml_backend.learning.assembly import open_learning
from ml_backend.settings import Settings
from tests.held_port import held_port
from tests.ml_backend.label_studio_requests import clicks, keypoint, recorded, recorded_setup
from tests.ml_backend.stand_in import LEGACY_TOKEN
from tests.waiting import PATIENCE, wait_until
from training.moments import now
from training.store.model_versions import Candidate, version_name
from training.store.sample_rows import SampleRow

ROOT = Path(__file__).parents[3]
PROJECT = "2.1795327560"


@pytest.fixture
def environment(tmp_path, checkpoint, label_studio):
    label_studio.project |= {"id": 2, "created_at": "2026-11-22T06:06:00.942531Z"}
    with held_port() as port:
        yield {
            "MODEL_DIR": str(tmp_path / "state"),
            "ICMFORMER_CHECKPOINT": str(checkpoint),
            "ICMFORMER_TORCH_THREADS": "1",
            "ICMFORMER_FINE_TUNE_AFTER": "0",
            "ICMFORMER_RECONCILE_MINUTES": "0",
            "LABEL_STUDIO_URL": label_studio.url,
            "LABEL_STUDIO_API_KEY": LEGACY_TOKEN,
            "WORKERS": "2",
            "PORT": str(port),
        }


@pytest.fixture
def learning(environment):
    learning = open_learning(
        Settings(model_dir=environment["MODEL_DIR"], checkpoint=environment["ICMFORMER_CHECKPOINT"])
    )
    yield learning
    learning.close()


@contextlib.contextmanager
def running(command, environment):
    """One of the programs, in a group of its own: killing the group is a power cut."""
    log = Path(environment["MODEL_DIR"]).parent / f"{command}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml_backend", command],
            cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)


def set_up(url):
    """Open a task, as Label Studio tells it; return the version that the answer names."""
    body = {**recorded_setup(), "project": PROJECT}
    answer = requests.post(f"{url}/setup", json=body, timeout=PATIENCE)
    answer.raise_for_status()
    return answer.json()["model_version"]


def is_ready(url):
    try:
        return requests.get(f"{url}/ready", timeout=5).ok
    except requests.RequestException:
        return False


class Annotators:
    """Four of them click all the time; every answer is kept with its moment."""

    def __init__(self, url):
        self.answers = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._click, args=(n,)) for n in range(4)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _click(self, number):
        while not self._stop.is_set():
            began = time.monotonic()
            # A connection of its own each time: any of the processes may answer.
            body = clicks(keypoint(50, 50, id=f"{number}-{began}"))
            answer = requests.post(f"{self._url}/predict", json=body, timeout=PATIENCE)
            (result,) = answer.json()["results"] if answer.ok else ({"error": answer.text},)
            self.answers.append((began, answer.status_code, result))

    def are_served(self, name):
        """Say whether the clicks of the last two seconds were all answered by that version."""
        since = time.monotonic() - 2.0
        return {result["model_version"] for began, _, result in self.answers if began > since} == {
            name
        }


def publish(learning, folder, seed):
    """Another version for the project; return its number and name."""
    torch.manual_seed(seed)
    path = folder / f"{seed}.safetensors"
    save_checkpoint(build_model("tiny"), path)
    versions = learning.stores.versions
    number = versions.publish(Candidate(f"job {seed}", path, project=PROJECT))
    return number, version_name(versions.get(number))


@pytest.mark.slow
def test_every_process_follows_within_seconds_and_no_request_fails(environment, learning, tmp_path):
    second, its_name = publish(learning, tmp_path, 2)
    url = f"http://127.0.0.1:{environment['PORT']}"

    def by_rest(**body):
        live = f"{url}/api/projects/{PROJECT}/live"
        requests.post(live, json=body, timeout=PATIENCE).raise_for_status()

    def by_page(**form):
        path = f"{url}/projects/{PROJECT}/live"
        requests.post(path, data=form, timeout=PATIENCE).raise_for_status()

    def by_command(*arguments):
        subprocess.run(
            [sys.executable, "-m", "ml_backend", *arguments, "--project", "2"],
            check=True, cwd=ROOT, env={**os.environ, **environment}, capture_output=True,
        )  # fmt: skip

    with running("serve", environment):
        wait_until(lambda: is_ready(url))
        first_name = set_up(url)
        moves = [
            (lambda: by_rest(move="promote", version=second), its_name),
            (lambda: by_command("rollback"), first_name),
            (lambda: by_page(move="promote", version=second), its_name),
        ]
        with Annotators(url) as annotators:
            for move, name in moves:
                move()
                wait_until(partial(annotators.are_served, name))
                assert set_up(url) == name
        asked = requests.get(f"{url}/versions", params={"project": PROJECT}, timeout=PATIENCE)
        assert asked.json()["versions"] == [its_name, first_name]
    assert {status for _, status, _ in annotators.answers} == {200}
    assert not [result for _, _, result in annotators.answers if "error" in result]


@pytest.mark.slow
def test_a_webhook_that_was_answered_survives_the_next_moment(environment, learning):
    url = f"http://127.0.0.1:{environment['PORT']}"
    body = recorded("webhook_ANNOTATION_CREATED_full")
    with running("serve", environment) as process:
        wait_until(lambda: is_ready(url))
        answer = requests.post(f"{url}/webhook", json=body, timeout=PATIENCE)
        os.killpg(process.pid, signal.SIGKILL)
    assert answer.status_code == 201
    message = learning.inbox.next_due(now())
    assert json.loads(message.body) == body

    def samples():
        with learning.stores.database.read() as session:
            return session.query(SampleRow).count()

    with running("work", environment):
        wait_until(lambda: samples() or learning.inbox.backlog(PROJECT).waiting_problem)
    assert learning.inbox.backlog(PROJECT).waiting_problem == ""
    assert samples() == 1
