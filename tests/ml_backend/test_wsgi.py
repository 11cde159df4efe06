"""What gunicorn imports in each of its processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IN_A_CONTAINER = """
import os, sys
from pathlib import Path
from training import processor_cores
processor_cores._GROUPS = Path(sys.argv[1])
processor_cores._OWN_GROUP = Path(sys.argv[1], "own")
from ml_backend.deadline import Deadline
from ml_backend.serving import free_cores
free_cores._LOAD = Path(sys.argv[1], "loadavg")
from ml_backend.wsgi import app
import torch
queue = app.extensions["icmformer"].queue
print(queue.run(torch.get_num_threads, Deadline(60)), flush=True)
os._exit(0)
"""
OTHER_WORKERS = """
import os, threading, time
import cv2, torch

def workers():
    # of libraries: those of torch's that the network uses have a lower priority
    ours = {thread.native_id for thread in threading.enumerate()}
    found = set(map(int, os.listdir("/proc/self/task"))) - ours
    return {one for one in found if os.getpriority(os.PRIO_PROCESS, one) == os.nice(0)}

before = workers()
from ml_backend.wsgi import app
while not app.extensions["icmformer"].readiness.ready:
    time.sleep(0.05)
print(len(workers() - before), flush=True)
os._exit(0)
"""


def number_of(script, folder, **settings):
    environment = {"OMP_NUM_THREADS": "2", "MODEL_DIR": str(folder / "state")}
    environment |= {"ICMFORMER_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env={**os.environ, **environment, **settings},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(ended.stdout)


def threads_in_a_container(folder, cores, **settings):
    """Import it where there is the time of some cores; gives torch's threads for a click."""
    (folder / "cpu.max").write_text(f"{100_000 * cores} 100000\n")
    (folder / "own").write_text("0::/\n")
    return number_of(IN_A_CONTAINER, folder, **settings)


def test_clicks_take_no_more_threads_than_a_container_has_cores(tmp_path):
    assert threads_in_a_container(tmp_path, 1) == 1


def test_clicks_take_no_more_threads_than_openmp_is_told(tmp_path):
    assert threads_in_a_container(tmp_path, 64) == 2


def test_clicks_take_as_many_threads_as_were_set(tmp_path):
    assert threads_in_a_container(tmp_path, 1, ICMFORMER_TORCH_THREADS="3") == 3


@pytest.mark.skipif(sys.platform != "linux", reason="threads are told apart by Linux's files")
def test_only_the_thread_that_computes_has_workers_or_they_would_outnumber_the_cores(tmp_path):
    assert number_of(OTHER_WORKERS, tmp_path, ICMFORMER_TORCH_THREADS="2") == 0
