"""`python -m ml_backend serve`: the backend under gunicorn, configured by the environment."""

import argparse
import os
import sys
from pathlib import Path

from ml_backend.errors import SettingsError
from ml_backend.local_servers import ports
from ml_backend.settings import child_environment, load_settings, path_prefix

GUNICORN_CONFIGURATION = Path(__file__).parents[1] / "gunicorn.conf.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: every setting is an environment variable, the same in a container."""


def run(arguments: argparse.Namespace) -> int:
    """Become gunicorn, so that signals reach it directly; return only if that fails.

    Raises:
        SettingsError: a setting is unusable, or nothing can listen at the address they name.
    """
    # A bad setting is said once, here, and not by every worker in a loop of restarts.
    settings = load_settings()
    prefix = path_prefix()
    # gunicorn would try for five seconds, and not say what to do.
    advice = ports.busy_advice("ICMFORMER_PORT")
    problem = ports.refusal(settings.host, settings.port, advice)
    if problem:
        raise SettingsError(problem)
    command = [sys.executable, "-m", "gunicorn", "--config", str(GUNICORN_CONFIGURATION)]
    # gunicorn cuts it off as it is, and of an address that ends there nothing would be left
    os.execve(sys.executable, command, child_environment({"SCRIPT_NAME": prefix}))
