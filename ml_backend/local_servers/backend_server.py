"""The backend and its worker, as `python -m ml_backend serve` and `work` run them anywhere.

Of the environment they take how to compute. Where state is kept, which Label Studio is asked, and
who may log in is for their caller to say: this shell may be set up for another backend, whose
store they would write into, and whose login would shut everybody out.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from ml_backend.local_servers.child_process import PAST_PROXIES, ChildProcess, answers
from ml_backend.settings import unset

# reading the weights of the largest network from a slow disk, and one pass of it
_READY_SECONDS = 300.0
_NOT_OF_THIS_SHELL = (
    "host",
    "port",
    "model_dir",
    "database_url",
    "files_url",
    "queue_url",
    "label_studio_url",
    "label_studio_api_key",
    "basic_auth_user",
    "basic_auth_pass",
)


def url(port: int) -> str:
    """Where the backend answers."""
    return f"http://127.0.0.1:{port}"


def start(model_dir: Path, port: int, log: Path, environment: Mapping[str, str]) -> ChildProcess:
    """Start the backend under gunicorn, on the loopback address; it is not ready yet.

    Args:
        model_dir: where it keeps all that outlives it.
        port: where it listens.
        log: receives its output.
        environment: further settings, named as in `ml_backend.settings`.

    Raises:
        LocalServerError: it cannot be started.
    """
    listen = {"ICMFORMER_HOST": "127.0.0.1", "ICMFORMER_PORT": str(port)}
    return _start("The backend", "serve", model_dir, log, {**listen, **environment})


def start_worker(model_dir: Path, log: Path, environment: Mapping[str, str]) -> ChildProcess:
    """Start the worker that belongs to the backend with the same `model_dir`; see `start`."""
    return _start("The worker", "work", model_dir, log, environment)


def wait_until_ready(server: ChildProcess, port: int) -> None:
    """Return once the network is loaded and has answered once.

    Raises:
        LocalServerError: it ended, or took too long.
    """
    server.wait_until(lambda: answers(f"{url(port)}/ready", timeout=5), _READY_SECONDS)


def _start(
    name: str, command: str, model_dir: Path, log: Path, environment: Mapping[str, str]
) -> ChildProcess:
    program = [sys.executable, "-m", "ml_backend", command]
    place = {"ICMFORMER_MODEL_DIR": str(model_dir.resolve())}
    settings = {**unset(*_NOT_OF_THIS_SHELL), **PAST_PROXIES, **place, **environment}
    return ChildProcess(name, program, settings, log)
