import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ml_backend import __main__ as command_line
from tests.training.disc_project import draw_data_set
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[3]


def environment(checkpoint):
    return {**os.environ, "ICMFORMER_CHECKPOINT": str(checkpoint), "ICMFORMER_DEVICE": "cpu"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_ends_its_servers_too(tmp_path, checkpoint, number):
    log = tmp_path / "state" / "backend.log"
    measuring = subprocess.Popen(
        [sys.executable, "-m", "ml_backend", "latency", "--state", str(tmp_path / "state")],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=environment(checkpoint),
    )  # fmt: skip
    family = []
    try:
        while measuring.poll() is None and not (log.exists() and log.read_text()):
            time.sleep(0.05)
        family = psutil.Process(measuring.pid).children(recursive=True)
        assert family
        measuring.send_signal(number)
        _, said = measuring.communicate(timeout=PATIENCE)
        assert (measuring.returncode, said.splitlines()[0][:12]) == (130, "interrupted:")
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert alive == []
    finally:
        for process in [measuring, *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_situation_gets_a_row_and_nothing_fails(tmp_path, checkpoint):
    state = tmp_path / "state"
    arguments = ["latency", "--seconds", "3", "--state", str(state)]
    proxy = {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "", "no_proxy": ""}  # of a company
    # of which one judges: a job clicks before it trains, twenty times an object and annotator
    retention = draw_data_set(tmp_path / "retention", (502, 503, 504))
    measured = subprocess.run(
        [sys.executable, "-m", "ml_backend", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=environment(checkpoint) | proxy | {"ICMFORMER_RETENTION_SET": str(retention)},
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr + measured.stdout
    _, *rows, last = measured.stdout.splitlines()
    assert [row[:44].strip() for row in rows] == [
        "clicks, idle",
        "webhooks, idle",
        "webhooks, 8 annotators click",
        "clicks, a job trains",
        "webhooks, a job trains, 8 annotators",
    ]
    assert {row.split()[-1] for row in rows} == {"0"}
    assert last.startswith("the job was at: ")


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_photos_is_named_with_what_to_give(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "ml_backend", "latency", "--data", str(tmp_path / folder)]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(str(tmp_path / folder))
    assert "expected images/<name>.(jpg|png|webp|bmp|tif) and masks/<name>.png" in refused.stderr


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf", "soon"])
def test_seconds_that_are_none_are_refused(monkeypatch, capsys, seconds):
    monkeypatch.setattr("sys.argv", ["ml_backend", "latency", f"--seconds={seconds}"])
    with pytest.raises(SystemExit):
        command_line.main()
    assert f"{seconds} is not a number of seconds above 0" in capsys.readouterr().err
