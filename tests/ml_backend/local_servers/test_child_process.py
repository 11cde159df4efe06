import sys

import psutil
import pytest
from flask import Flask

from ml_backend.errors import LocalServerError
from ml_backend.local_servers import child_process
from ml_backend.local_servers.child_process import ChildProcess, answers, left_running
from tests.ml_backend.stand_in import serving
from tests.waiting import PATIENCE, wait_until

# starts a child of its own, says so, and refuses to leave politely
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path):
    started = []

    def start(code: str, **environment: str) -> ChildProcess:
        command = [sys.executable, "-c", code]
        process = ChildProcess(
            "The program", command, environment, tmp_path / "logs" / "program.log"
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop()


def said(process: ChildProcess) -> str:
    return process.log.read_text()


def test_output_and_environment(start):
    process = start("import os; print(os.environ['GREETING'])", GREETING="hello")
    process.wait_until(lambda: "hello" in said(process), PATIENCE)


def test_stopping_reaches_what_the_program_started(start, monkeypatch):
    monkeypatch.setattr(child_process, "_GRACE_SECONDS", 0.2)
    process = start(STUBBORN)
    process.wait_until(lambda: said(process).endswith("\n"), PATIENCE)
    grandchild = psutil.Process(int(said(process)))
    process.stop()
    assert not process.running
    # nobody but init can collect it here, so it may linger as a zombie
    zombie = psutil.STATUS_ZOMBIE
    wait_until(lambda: not grandchild.is_running() or grandchild.status() == zombie)


def test_what_still_runs_beside_a_log_is_known_by_its_process_id(start):
    process = start("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    process.wait_until(lambda: said(process).endswith("\n"), PATIENCE)
    assert left_running(process.log.parent) == {"program": said(process).strip()}
    process.stop()
    assert left_running(process.log.parent) == {}


def test_stopping_twice(start):
    process = start("import time; time.sleep(600)")
    process.stop()
    process.stop()
    assert not process.running


def test_program_that_ends_while_it_should_start(start):
    process = start("raise SystemExit('no disk')")
    with pytest.raises(LocalServerError, match=r"The program ended while starting(?s:.*)no disk"):
        process.wait_until(lambda: False, PATIENCE)


def test_program_that_ends_by_itself(start):
    process = start("print('bye'); raise SystemExit(3)")
    wait_until(lambda: not process.running)
    with pytest.raises(LocalServerError, match="The program ended with status 3"):
        process.check()


def test_program_that_never_gets_ready(start):
    process = start("import time; time.sleep(600)")
    with pytest.raises(LocalServerError, match="The program did not answer within 0 s"):
        process.wait_until(lambda: False, 0.0)


def test_program_that_does_not_exist(tmp_path):
    with pytest.raises(LocalServerError, match="The program cannot be started"):
        ChildProcess("The program", [str(tmp_path / "nothing")], {}, tmp_path / "log")


def test_keyboard_interrupt_of_the_terminal_does_not_reach_it(start):
    leads = "print(os.getpgrp() == os.getpid(), flush=True)"
    process = start(f"import os, time; {leads}; time.sleep(600)")
    process.wait_until(lambda: "True" in said(process), PATIENCE)


def test_what_answers_is_asked_past_every_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    app = Flask("a program that is not ready")
    app.add_url_rule("/health", view_func=lambda: "well")
    app.add_url_rule("/ready", endpoint="ready", view_func=lambda: ("not yet", 503))
    with serving(app) as url:
        assert answers(f"{url}/health", timeout=PATIENCE)
        assert not answers(f"{url}/ready", timeout=PATIENCE)
    assert not answers(f"{url}/health", timeout=PATIENCE)
