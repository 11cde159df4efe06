"""A demo that is killed leaves its servers; none that is started next may use the same data."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[3]
# in the place of Label Studio: it never answers, so that the demo goes on waiting for it
SILENT = f"#!{sys.executable}\nimport time; time.sleep(600)\n"


class Demo:
    """`python -m ml_backend demo` whose Label Studio is silent; what it left running is listed."""

    def __init__(self, folder):
        self.data = folder / "data"
        self.label_studio = folder / "label-studio"
        self.label_studio.write_text(SILENT)
        self.label_studio.chmod(0o755)
        self.process = None

    def command(self, *arguments):
        options = ("--data-dir", str(self.data), "--label-studio", str(self.label_studio))
        return [sys.executable, "-m", "ml_backend", "demo", *options, *arguments]

    def start(self):
        self.process = subprocess.Popen(self.command(), cwd=ROOT, stdout=subprocess.DEVNULL)
        wait_until(lambda: len(self.servers()) == 2, process=self.process)
        # which replaces the program that was started
        backend = psutil.Process(self.servers()["backend"])
        wait_until(lambda: "gunicorn" in backend.cmdline(), process=self.process)

    def servers(self):
        ids = {path.stem: path.read_text() for path in self.data.glob("*.pid")}
        return {name: int(text) for name, text in ids.items() if text}

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def refusal(self):
        """What a start says that the data would allow, but whose port is busy."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = subprocess.run(
                self.command("--backend-port", port),
                cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        return done.stderr


@pytest.fixture
def demo(tmp_path):
    demo = Demo(tmp_path)
    yield demo
    if demo.process:
        demo.process.kill()
        demo.process.wait()
    for leader in demo.servers().values():
        kill_group(leader)


def kill_group(leader):
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_killed_demo_keeps_others_off_its_data_until_its_servers_end(demo):
    demo.start()
    assert demo.refusal().startswith(f"A demo already runs with the data in {demo.data}: stop it")
    demo.end(signal.SIGKILL)
    left = demo.servers()
    named = f"backend (process {left['backend']}), label-studio (process {left['label-studio']})"
    assert demo.refusal() == (
        f"Servers of a demo that was killed still run with the data in {demo.data}: {named}; stop "
        "them with kill, or choose another place with --data-dir.\n"
    )
    kill_group(left["label-studio"])
    backend = psutil.Process(left["backend"])
    assert f"in {demo.data}: backend (process {backend.pid}); stop them" in demo.refusal()
    family = [backend, *backend.children(recursive=True)]
    backend.terminate()
    psutil.wait_procs(family, timeout=PATIENCE)
    assert "is busy" in demo.refusal()


def test_a_demo_that_is_stopped_frees_its_data(demo):
    demo.start()
    assert demo.end(signal.SIGTERM) == 0
    assert "is busy" in demo.refusal()
