"""Programs whose output goes nowhere."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def printed_into_a_broken_pipe(*arguments, unbuffered):
    """Run a module as a program, as before `| true`; return its exit status and complaints.

    Args:
        arguments: the module and its arguments.
        unbuffered: PYTHONUNBUFFERED; without it, what is short is printed when the program ends.
    """
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as output:
        return _run(arguments, output, unbuffered)


def printed_to_a_full_disk(*arguments, unbuffered):
    """The same for `> /dev/full`."""
    with open("/dev/full", "wb") as output:
        return _run(arguments, output, unbuffered)


def _run(arguments, output, unbuffered):
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, text=True, check=False,
        stdout=output, stderr=subprocess.PIPE,
    )  # fmt: skip
    return done.returncode, done.stderr
