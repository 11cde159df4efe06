"""Another process that works in a folder."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PROGRAM = """
import pathlib, sys
from training.folder_lock import locked
with locked(pathlib.Path(sys.argv[1]), SystemExit("not expected")):
    print("locked", flush=True)
    input()
"""


@contextmanager
def locked_by_another_process(folder):
    """Let another process hold a folder, until it is killed when the block is left."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(folder)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            other.kill()
