"""The program as it is shipped: gunicorn with one worker, threads and the settings' address."""

import argparse
import contextlib
import itertools
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from ml_backend.commands.serve import run
from ml_backend.errors import SettingsError
from ml_backend.learning.projects import ProjectNews
from tests.held_port import held_port
from tests.ml_backend.label_studio_requests import clicks, keypoint, recorded_setup
from tests.ml_backend.stand_in import LEGACY_TOKEN
from tests.waiting import PATIENCE, wait_until
from training import __version__

ROOT = Path(__file__).parents[3]


@pytest.fixture
def port():
    with held_port() as port:
        yield port


class Program:
    """`python -m ml_backend serve` with these settings."""

    def __init__(self, folder, port, **settings):
        self.url = f"http://127.0.0.1:{port}"
        self.log, self.state = folder / "log.txt", folder / "state"
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        places = {"PYTHONPATH": path, "MODEL_DIR": str(self.state), "PORT": str(port)}
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ml_backend", "serve"],
                env={**os.environ, **places, **settings},
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, path, status):
        def answered():
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                return requests.get(f"{self.url}{path}", timeout=5).status_code == status

        wait_until(answered, process=self.process, log=self.log, every=0.1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def known(learning):
    """The key of a project that connected before the server was stopped."""
    learning.projects.remember("1.1795327560", ProjectNews(title="Cells"))
    return "1.1795327560"


@pytest.fixture
def program(tmp_path, port, checkpoint, label_studio):
    started = Program(
        tmp_path,
        port,
        ICMFORMER_CHECKPOINT=str(checkpoint),
        LABEL_STUDIO_URL=label_studio.url,
        LABEL_STUDIO_API_KEY=LEGACY_TOKEN,
    )
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()


@pytest.mark.slow
def test_a_connection_that_ends_after_a_body_in_chunks_is_said_to_end(program):
    program.wait_for("/health", 200)
    with requests.Session() as session:
        # of what is too much, as little as the client can send though nobody reads it
        chunks = itertools.chain((bytes(1 << 20) for _ in range(64)), [bytes(1 << 18)])
        answer = session.post(f"{program.url}/setup", data=chunks, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["Connection"]) == (413, "close")
        kept = session.get(f"{program.url}/health", timeout=PATIENCE)
        assert (kept.status_code, kept.headers["Connection"]) == (200, "keep-alive")


@pytest.mark.slow
def test_it_starts_answers_and_stops(program):
    program.wait_for("/health", 200)
    program.wait_for("/ready", 200)
    forged = {"SCRIPT_NAME": "/health", "PATH_INFO": "/nowhere"}
    assert requests.get(f"{program.url}/health", headers=forged, timeout=PATIENCE).history == []
    refused = requests.post(
        f"{program.url}/setup", json={**recorded_setup(), "schema": "<View/>"}, timeout=PATIENCE
    )
    # What Label Studio shows the administrator is made of this phrase alone.
    assert refused.reason == refused.json()["error"]
    with pytest.raises(requests.HTTPError, match="the labelling configuration has no image"):
        refused.raise_for_status()
    assert requests.post(f"{program.url}/setup", json=recorded_setup(), timeout=PATIENCE).ok

    def ask(number):
        body = clicks(keypoint(50, 50, id=str(number)), task=number)
        with requests.post(f"{program.url}/predict", json=body, timeout=PATIENCE) as answer:
            return len(answer.json()["results"][0]["result"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [1] * 16
    assert program.stop() == 0
    # SQLite's logs hold what was deleted; the queue's, that there was news.
    assert list(program.state.glob("[is]*.db-*")) == []
    log = program.log.read_text()
    first, *_, last = log.splitlines()
    starts = f"release {__version__} starts at {program.url} with MODEL_DIR {program.state}"
    assert first.endswith(f" INFO ml_backend.serve {starts}")
    assert last.endswith(" INFO ml_backend.serve stopped")
    assert "mask task=3 clicks=1 version=tiny-" in log
    assert "Traceback" not in log
    assert LEGACY_TOKEN not in log


@pytest.mark.slow
def test_what_was_accepted_while_nothing_served_is_looked_for(learning, known, program):
    program.wait_for("/health", 200)
    assert learning.projects.find(known).is_reconcile_asked_for


@pytest.fixture
def few_files():
    """Let what a test starts have 256 files open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def most_files_open(parent):
    """Return how many files the child of a process has open that has most."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return max(len(os.listdir(f"/proc/{child}/fd")) for child in children)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux alone tells")
def test_more_connections_than_files_do_not_end_it(few_files, program):
    few_files()
    program.wait_for("/ready", 200)
    address = program.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            peer = stack.enter_context(socket.create_connection(address))
            peer.sendall(b"GET /health HT")
        held = [0]

        def takes_no_more():
            held.append(most_files_open(program.process.pid))
            return held[-1] == held[-2] > 128

        wait_until(takes_no_more, every=0.3)
    program.wait_for("/health", 200)
    assert program.stop() == 0
    assert "Too many open files" not in program.log.read_text()


@pytest.mark.slow
def test_stopping_finishes_what_is_being_answered(program):
    program.wait_for("/ready", 200)
    answers = []
    many = [keypoint(number % 90 + 5, 50, id=str(number)) for number in range(100)]

    def ask():
        answers.append(
            requests.post(f"{program.url}/predict", json=clicks(*many), timeout=PATIENCE)
        )

    asking = threading.Thread(target=ask)
    asking.start()
    idle, metrics = "icmformer_inference_queue 0.0", f"{program.url}/metrics"
    wait_until(lambda: idle not in requests.get(metrics, timeout=PATIENCE).text, every=0.01)
    assert program.stop() == 0
    asking.join()
    assert [answer.status_code for answer in answers] == [200]


@pytest.mark.slow
def test_where_the_master_was_killed_kept_connections_end_so_that_another_can_start(program):
    program.wait_for("/ready", 200)
    with requests.Session() as session:
        address = f"{program.url}/health"
        assert session.get(address, timeout=PATIENCE).headers["Connection"] == "keep-alive"
        program.process.kill()
        ends = []

        def is_said():
            with contextlib.suppress(requests.ConnectionError):
                ends.append(session.get(address, timeout=PATIENCE).headers["Connection"])
                return False
            return True  # nobody listens there any more

        wait_until(is_said, every=0.1)
    assert ends[-1:] == ["close"]


@pytest.mark.slow
def test_two_proxies_that_contradict_each_other_about_the_scheme_are_answered(program):
    program.wait_for("/health", 200)
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"}
    assert requests.get(f"{program.url}/health", headers=headers, timeout=PATIENCE).ok


@pytest.mark.slow
def test_stopping_does_not_wait_until_everything_is_loaded(tmp_path, port, checkpoint):
    log_imports = {"PYTHONPROFILEIMPORTTIME": "1", "ICMFORMER_CHECKPOINT": str(checkpoint)}
    program = Program(tmp_path, port, **log_imports)
    loads = re.compile(r"\| +torch\.")
    wait_until(lambda: loads.search(program.log.read_text()), process=program.process)
    assert program.stop() == 0
    log = program.log.read_text()
    assert "ml_backend.app" not in log
    assert "terminate called" not in log


@pytest.mark.slow
def test_bad_setting_stops_the_start_with_one_sentence(tmp_path, port):
    program = Program(tmp_path, port, ICMFORMER_CHEKPOINT="x.safetensors")
    assert program.process.wait(PATIENCE) == 1
    (line,) = program.log.read_text().splitlines()
    assert "did you mean ICMFORMER_CHECKPOINT?" in line


@pytest.mark.slow
def test_an_address_where_it_cannot_listen_stops_the_start_with_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = Program(tmp_path, port)
        assert program.process.wait(PATIENCE) == 1
    (line,) = program.log.read_text().splitlines()
    assert line.startswith(f"Port {port} of 127.0.0.1 is busy: stop the program that listens there")
    program = Program(tmp_path, port, ICMFORMER_HOST="192.0.2.1")
    assert program.process.wait(PATIENCE) == 1
    (line,) = program.log.read_text().splitlines()
    assert line.startswith("192.0.2.1 is no address of this machine")


@pytest.mark.parametrize(
    "prefix", ["icmformer", " /icmformer", "/a b", "/icmformer?", "/a#b", "/ä"]
)
def test_a_prefix_that_no_path_begins_with_stops_the_start(monkeypatch, prefix):
    with socket.create_server(("127.0.0.1", 0)) as taken:  # where no server ever starts
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("SCRIPT_NAME", prefix)
        with pytest.raises(SettingsError, match=r"SCRIPT_NAME is '.*must begin with a slash"):
            run(argparse.Namespace())


@pytest.mark.parametrize("prefix", ["", "/", "/icmformer", "/tools/icmformer/"])
def test_other_prefixes_do_not(monkeypatch, prefix):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("SCRIPT_NAME", prefix)
        with pytest.raises(SettingsError, match="is busy"):
            run(argparse.Namespace())


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["/tools/icmformer/", "/"])
def test_below_a_prefix_that_ends_in_a_slash_the_page_is_shown(tmp_path, port, checkpoint, prefix):
    checkpoint = {"ICMFORMER_CHECKPOINT": str(checkpoint)}
    program = Program(tmp_path, port, SCRIPT_NAME=prefix, **checkpoint)
    try:
        program.wait_for(f"{prefix}health", 200)
        page = requests.get(f"{program.url}{prefix}", timeout=PATIENCE, allow_redirects=False)
        assert page.status_code == 200
    finally:
        program.stop()


@pytest.mark.slow
def test_checkpoint_that_cannot_be_read_stops_the_start_without_a_trace(tmp_path, port):
    program = Program(tmp_path, port, ICMFORMER_CHECKPOINT=str(tmp_path / "absent.safetensors"))
    assert program.process.wait(PATIENCE) != 0
    log = program.log.read_text()
    assert "ICMFORMER_CHECKPOINT cannot be read" in log.splitlines()[1]
    assert "Traceback" not in log
