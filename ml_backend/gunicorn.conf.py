"""How gunicorn runs the backend: `python -m ml_backend serve`, and nothing to repeat by hand."""

import logging
import multiprocessing
import os
import resource
import signal
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from ml_backend.gunicorn_hooks import (
    catch_up,
    hang_up_on_silence,
    leave,
    say_silence_in_a_line,
)
from ml_backend.logs import write_logs
from ml_backend.settings import load_settings, path_prefix
from training import __version__

_logger = logging.getLogger("ml_backend.serve")
_settings = load_settings()
_caught_up = multiprocessing.Event()


class Worker(ThreadWorker):
    """Ends at once where it is told to while it loads.

    gunicorn's own signals would let it load to the end first; often it then aborted, because the
    thread that computes the first mask had just begun.
    """

    def load_wsgi(self) -> None:
        """Load the application."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda *_: os._exit(0))
        super().load_wsgi()
        self.init_signals()

    def is_parent_alive(self) -> bool:
        """Say whether gunicorn's master is there, and stop in order where it was killed.

        gunicorn leaves its loop, too, but keeps connections alive as if nothing had happened: for
        half a minute clicks go on, while /health hangs and a new start finds the port taken.
        """
        is_alive: bool = super().is_parent_alive()
        if not is_alive:
            self.alive = False
        return is_alive


wsgi_app = "ml_backend.wsgi:app"
# An IPv6 address wears brackets in front of a port.
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = f"{_host}:{_settings.port}"
workers = _settings.workers
worker_class = Worker
threads = _settings.threads
# The network is loaded after the fork: CUDA does not survive one.
preload_app = False
# A prefix comes from the environment. From a proxy on this machine gunicorn would take one in a
# header, too, which the proxy may have from anybody.
forwarder_headers = ""
# Nothing depends on the scheme; and two proxies that contradict each other would end in 400.
secure_scheme_headers: dict[str, str] = {}
# The other half is for databases, images and networks: without any left, the process would end.
_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
worker_connections = min(1000, _files // 2) if _files != resource.RLIM_INFINITY else 1000
# Between two heartbeats of a worker, not of a request: those have their own deadline.
timeout = 60
# Stopping waits for the requests that are being answered, but not for ever.
graceful_timeout = 30
# Label Studio keeps its connection open between clicks.
keepalive = 75
loglevel = "warning"
# Nobody steers it but signals. The socket would need a writable home directory, and its default
# place is one file a user, which two backends would fight for.
control_socket_disable = True


def when_ready(server: Any) -> None:
    """Say what starts; give back the thread of a peer that vanishes within a request."""
    write_logs(_settings.log_level)
    address = f"http://{bind}{path_prefix()}"
    folder = _settings.model_dir.resolve()
    _logger.info("release %s starts at %s with MODEL_DIR %s", __version__, address, folder)
    for listener in server.LISTENERS:
        hang_up_on_silence(listener.sock, seconds=30)
    server.log.error_log.addFilter(say_silence_in_a_line)


def post_worker_init(worker: Any) -> None:
    """Have found what was accepted while there was no server."""
    catch_up(worker, _caught_up)


def pre_request(worker: Any, request: Any) -> None:
    """Say with the answer to a body in chunks that the connection ends.

    So it does after one that is too large, of which the rest is not read; that gunicorn does not
    say, and an application cannot.
    """
    if any(name == "TRANSFER-ENCODING" for name, _ in request.headers):
        request.force_close()


def worker_exit(server: Any, worker: Any) -> None:
    """Leave in order, if there is anything to leave."""
    if worker.booted:
        leave(worker)


def on_exit(server: Any) -> None:
    """Say that it ended in order; of one that is killed, nobody hears."""
    _logger.info("stopped")
