"""Of the machine's cores, those that other programs leave."""

import os
import subprocess
import sys

import pytest

from ml_backend.serving import free_cores as module
from ml_backend.serving.free_cores import free_cores
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("running", "most", "free"),
    [
        (1, 4, 4),  # only the one who asks
        (2, 4, 4),  # another of eight cores is busy: four are still there
        (6, 4, 3),
        (7, 4, 2),
        (40, 4, 1),  # one thread there is always
        (0, 4, 4),
    ],
)
def test_threads_that_run_elsewhere_take_their_cores(running, most, free, tmp_path, monkeypatch):
    load = tmp_path / "loadavg"
    load.write_text(f"0.42 0.31 0.20 {running}/230 4711\n")
    monkeypatch.setattr(module, "_LOAD", load)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert free_cores(most) == free


@pytest.mark.parametrize("text", [None, "", "0.42 0.31 0.20 many/230 4711\n"])
def test_all_are_free_where_the_system_does_not_tell(text, tmp_path, monkeypatch):
    load = tmp_path / "loadavg"
    if text is not None:
        load.write_text(text)
    monkeypatch.setattr(module, "_LOAD", load)
    assert free_cores(4) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_programs_that_compute_are_noticed():
    cores = os.cpu_count()
    computing = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(computing) for _ in range(cores)]
    try:
        wait_until(lambda: free_cores(cores) == 1)
    finally:
        for program in programs:
            program.kill()
            program.wait()
