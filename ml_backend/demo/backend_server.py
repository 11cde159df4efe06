"""The backend and its worker, as `python -m ml_backend serve` and `work` run them anywhere."""

import sys
from collections.abc import Mapping
from pathlib import Path

import requests

from ml_backend.demo.child_process import ChildProcess

# reading the weights of the largest network from a slow disk, and one pass of it
_READY_SECONDS = 300.0


def url(port: int) -> str:
    """Where the backend answers."""
    return f"http://127.0.0.1:{port}"


def start(
    model_dir: Path, port: int, log: Path, environment: Mapping[str, str] | None = None
) -> ChildProcess:
    """Start the backend under gunicorn, on the loopback address; it is not ready yet.

    Args:
        model_dir: where it keeps what outlives it.
        port: where it listens.
        log: receives its output.
        environment: further settings, named as in `ml_backend.settings`.

    Raises:
        DemoError: it cannot be started.
    """
    listen = {"ICMFORMER_HOST": "127.0.0.1", "ICMFORMER_PORT": str(port)}
    return _start("The backend", "serve", model_dir, log, {**listen, **(environment or {})})


def start_worker(
    model_dir: Path, log: Path, environment: Mapping[str, str] | None = None
) -> ChildProcess:
    """Start the worker that belongs to the backend with the same `model_dir`; see `start`."""
    return _start("The worker", "work", model_dir, log, environment or {})


def wait_until_ready(server: ChildProcess, port: int) -> None:
    """Return once the network is loaded and has answered once.

    Raises:
        DemoError: it ended, or took too long.
    """
    server.wait_until(lambda: _is_ready(port), _READY_SECONDS)


def _is_ready(port: int) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"{url(port)}/ready", timeout=5).ok
        except requests.RequestException:
            return False


def _start(
    name: str, command: str, model_dir: Path, log: Path, environment: Mapping[str, str]
) -> ChildProcess:
    program = [sys.executable, "-m", "ml_backend", command]
    settings = {"ICMFORMER_MODEL_DIR": str(model_dir.resolve()), **environment}
    return ChildProcess(name, program, settings, log)
