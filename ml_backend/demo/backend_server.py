"""The backend itself, as `python -m ml_backend serve` runs it anywhere."""

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
    settings = {
        "ICMFORMER_HOST": "127.0.0.1",
        "ICMFORMER_PORT": str(port),
        "ICMFORMER_MODEL_DIR": str(model_dir.resolve()),
        **(environment or {}),
    }
    return ChildProcess("The backend", [sys.executable, "-m", "ml_backend", "serve"], settings, log)


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
