"""What gunicorn imports in each of its processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
IN_A_CONTAINER = """
import os, sys
from pathlib import Path
from training import processor_cores
processor_cores._GROUPS = Path(sys.argv[1])
processor_cores._OWN_GROUP = Path(sys.argv[1], "own")
import ml_backend.wsgi, torch
print(torch.get_num_threads(), flush=True)
os._exit(0)
"""


def threads_in_a_container(folder, **settings):
    """Import it where there is the time of one core; gives torch's threads."""
    (folder / "cpu.max").write_text("100000 100000\n")
    (folder / "own").write_text("0::/\n")
    environment = {"OMP_NUM_THREADS": "2", "MODEL_DIR": str(folder / "state")}
    environment |= {"ICMFORMER_DEVICE": "cpu", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_CONTAINER, str(folder)],
        env={**os.environ, **environment, **settings},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(ended.stdout)


def test_clicks_take_no_more_threads_than_a_container_has_cores(tmp_path):
    assert threads_in_a_container(tmp_path) == 1


def test_clicks_take_as_many_threads_as_were_set(tmp_path):
    assert threads_in_a_container(tmp_path, ICMFORMER_TORCH_THREADS="3") == 3
