import logging
import multiprocessing
import os
import socket
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from ml_backend.gunicorn_hooks import (
    catch_up,
    hang_up_on_silence,
    leave,
    say_silence_in_a_line,
)
from ml_backend.learning.projects import ProjectNews
from tests.waiting import PATIENCE
from training.errors import DatabaseError


@pytest.fixture
def known(learning):
    """The key of a project that connected before the server was stopped."""
    learning.projects.remember("1.1795327560", ProjectNews(title="Cells"))
    return "1.1795327560"


@pytest.mark.parametrize("is_done", [True, False])
def test_only_the_first_process_that_is_ready_has_projects_compared(app, learning, known, is_done):
    done = multiprocessing.Event()
    if is_done:
        done.set()
    catch_up(SimpleNamespace(wsgi=app), done)
    assert learning.projects.find(known).is_reconcile_asked_for != is_done
    assert done.is_set()


def test_a_database_that_is_away_keeps_nobody_from_serving(app, known, monkeypatch, caplog):
    projects = app.extensions["icmformer"].learning.projects
    monkeypatch.setattr(projects, "ask_to_reconcile_all", Mock(side_effect=DatabaseError("away")))
    catch_up(SimpleNamespace(wsgi=app), multiprocessing.Event())
    assert "is found only when projects are next compared: away" in caplog.text


@pytest.mark.parametrize("hangs", [False, True])
def test_nobody_waits_for_a_network_that_hangs(hangs, monkeypatch):
    steps = []
    learning = SimpleNamespace(close=lambda: steps.append("closed"))
    backend = SimpleNamespace(learning=learning, queue=SimpleNamespace(hangs=hangs))
    monkeypatch.setattr(os, "_exit", steps.append)
    leave(SimpleNamespace(wsgi=SimpleNamespace(extensions={"icmformer": backend})))
    assert steps == (["closed", 0] if hangs else ["closed"])


def test_a_peer_that_falls_silent_does_not_hold_its_thread():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hang_up_on_silence(listening, seconds=1)
        with socket.create_connection(listening.getsockname()) as peer:
            peer.sendall(b"GET /health HT")
            accepted, _ = listening.accept()
            with accepted:
                accepted.setblocking(True)
                assert accepted.recv(100) == b"GET /health HT"
                with pytest.raises(BlockingIOError):
                    accepted.recv(100)


@pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="Linux alone defers")
def test_a_peer_that_has_sent_nothing_gets_no_thread():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hang_up_on_silence(listening, seconds=30)
        listening.settimeout(0.2)
        with socket.create_connection(listening.getsockname()) as peer:
            with pytest.raises(TimeoutError):
                listening.accept()
            listening.settimeout(PATIENCE)
            peer.sendall(b"GET /health HT")
            listening.accept()[0].close()


def test_a_silent_peer_leaves_a_line_in_the_log_and_no_trace(caplog):
    log = logging.getLogger("of gunicorn")
    log.addFilter(say_silence_in_a_line)
    for error in (BlockingIOError(11, "Resource temporarily unavailable"), OSError("the disk")):
        log.error("Socket error processing request.", exc_info=error)
    silent, other = caplog.records
    assert "fell silent" in silent.getMessage()
    assert silent.exc_info is None
    assert other.getMessage() == "Socket error processing request."
    assert other.exc_info is not None
