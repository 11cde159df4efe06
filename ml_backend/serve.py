"""`python -m ml_backend serve`: the backend under gunicorn, configured by the environment."""

import argparse
import os
import sys
from pathlib import Path

from ml_backend.settings import child_environment, load_settings

GUNICORN_CONFIGURATION = Path(__file__).with_name("gunicorn.conf.py")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: every setting is an environment variable, the same in a container."""


def run(arguments: argparse.Namespace) -> int:
    """Become gunicorn, so that signals reach it directly; return only if that fails."""
    # A bad setting is said once, here, and not by every worker in a loop of restarts.
    load_settings()
    command = [sys.executable, "-m", "gunicorn", "--config", str(GUNICORN_CONFIGURATION)]
    os.execve(sys.executable, command, child_environment({}))
