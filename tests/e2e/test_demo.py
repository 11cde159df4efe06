"""`make demo`: what it starts, what a second start keeps, and that nothing of it is left behind."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from ml_backend.demo import credentials, project
from ml_backend.demo.rest_api import RestApi
from ml_backend.local_servers import ports
from tests.e2e.conftest import LABEL_STUDIO, ROOT
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

READY = "Ctrl-C stops everything"


@dataclass
class Demo:
    process: subprocess.Popen[str]
    output: str

    @property
    def label_studio(self) -> str:
        return re.search(r"Label Studio +(http://\S+?)/projects/", self.output)[1]

    @property
    def backend(self) -> str:
        return re.search(r"backend +(http://\S+)", self.output)[1]


@contextmanager
def demo(data_dir: Path, *arguments: str) -> Iterator[Demo]:
    """Run the demo until the block ends; then Ctrl-C, and look for survivors."""
    if not LABEL_STUDIO.exists():
        pytest.skip("needs Label Studio: make install")
    # A shell starts background jobs with Ctrl-C ignored, and whatever they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "ml_backend", "demo", "--data-dir", str(data_dir), *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    started = Demo(process, "")
    family = []
    try:
        for line in process.stdout:
            started.output += line
            if READY in line:
                break
        assert READY in started.output, started.output
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        yield started
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        process.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    assert [survivor for survivor in alive if survivor.status() != psutil.STATUS_ZOMBIE] == []


def test_demo_twice(tmp_path):
    data_dir = tmp_path / "demo"
    with demo(data_dir) as first:
        login = credentials.load_or_create(data_dir / "credentials.json")
        api = RestApi(first.label_studio, login.token)
        (made,) = api.get("/api/projects/")["results"]
        tasks = project.task_ids(api, made["id"])
        assert len(tasks) == 4
        assert made["show_collab_predictions"] is False
        (backend,) = api.get("/api/ml/", project=made["id"])
        assert (backend["state"], backend["is_interactive"]) == ("CO", True)
        assert backend["url"] == first.backend
        (hook,) = api.get("/api/webhooks/", project=made["id"])
        assert hook["url"] == f"{first.backend}/webhook"
        assert hook["send_for_all_actions"]
        assert requests.get(f"{first.backend}/ready", timeout=PATIENCE).ok
        assert ("UNTRAINED" in first.output) == (backend["model_version"] == "untrained")
        api.post(f"/api/tasks/{tasks[0]}/annotations/", {"result": []})

        twin = subprocess.run(
            [sys.executable, "-m", "ml_backend", "demo", "--data-dir", str(data_dir)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert twin.returncode == 1
        assert "already runs" in twin.stderr

    elsewhere = ports.choose(None, int(first.backend.rsplit(":", 1)[1]) + 1, "port")
    with demo(data_dir, "--backend-port", str(elsewhere)) as second:
        api = RestApi(second.label_studio, login.token)
        (kept,) = api.get("/api/projects/")["results"]
        assert (kept["id"], kept["num_tasks_with_annotations"]) == (made["id"], 1)
        (backend,) = api.get("/api/ml/", project=kept["id"])
        assert backend["url"] == second.backend == f"http://127.0.0.1:{elsewhere}"
        (hook,) = api.get("/api/webhooks/", project=kept["id"])
        assert hook["url"] == f"{second.backend}/webhook"


def test_checkpoint_that_does_not_exist(tmp_path):
    arguments = ["--data-dir", str(tmp_path), "--checkpoint", str(tmp_path / "none.safetensors")]
    refused = subprocess.run(
        [sys.executable, "-m", "ml_backend", "demo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert refused.returncode == 1
    assert "There is no checkpoint" in refused.stderr
