"""A comparison that failed elsewhere, in a command or a worker before this one, is tried again."""

import threading
from dataclasses import replace
from datetime import timedelta
from time import monotonic

import pytest

import ml_backend.learning.worker as worker_module
from ml_backend.learning.projects import ProjectNews
from ml_backend.learning.worker import Worker
from tests.ml_backend.learning.worker.disc_tasks import (
    PROJECT,
    deliver,
    move_back,
    task,
    tasks_with_samples,
)
from training.moments import now
from training.store.sample_rows import AnnotationRow

GONE = "7.1795327560"


@pytest.fixture
def compared(learning, worker, server):
    """A project that was compared just now, so that its next turn is in an hour."""
    deliver(learning, server, 1)
    worker.ingest()
    worker.reconcile_due()
    assert told(learning) == "24 annotations compared, 0 withdrawn"


def told(learning):
    return learning.projects.find(PROJECT).told


def compare_in_vain(learning, server):
    """Compare as the command does, or a worker that ends then, with a token that is refused."""
    server.legacy_tokens_enabled = False
    elsewhere = Worker(learning, threading.Event())
    assert not elsewhere.reconcile(learning.projects.find(PROJECT)).succeeded
    server.legacy_tokens_enabled = True
    assert "; a later try failed: Label Studio" in told(learning)


@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_comparison_that_failed_elsewhere_is_tried_again(learning, worker, server, is_restarted):
    compare_in_vain(learning, server)
    if is_restarted:
        worker = Worker(learning, threading.Event())
    worker.reconcile_due()
    assert told(learning) == "24 annotations compared, 0 withdrawn"
    asked = len(server.requests)
    worker.reconcile_due()
    assert len(server.requests) == asked, "it is not compared again"


@pytest.mark.usefixtures("compared")
def test_without_a_timetable_nobody_tries_what_nobody_asked_for(learning, server):
    compare_in_vain(learning, server)
    settings = learning.settings.model_copy(update={"reconcile_minutes": 0.0})
    Worker(replace(learning, settings=settings), threading.Event()).reconcile_due()
    assert "a later try failed" in told(learning)


def test_what_was_stored_while_the_clock_was_ahead_is_mended_by_the_next_comparison(
    learning, worker, server
):
    deliver(learning, server, 1, 2)
    worker.ingest()
    deliver(learning, server, 2, action="ANNOTATION_DELETED")
    worker.ingest()
    move_back(learning, AnnotationRow, stored_at=now() + timedelta(hours=1))
    server.tasks = [task(2)]
    found = worker.reconcile(learning.projects.find(PROJECT))
    assert found.sentence == "1 annotation compared, 1 withdrawn"
    assert tasks_with_samples(learning) == [2]


def test_a_project_that_is_gone_is_asked_for_once_an_hour_after_a_restart_too(
    learning, worker, server, monkeypatch
):
    learning.projects.remember(GONE, ProjectNews(title="deleted since"))
    learning.projects.reconciled(learning.projects.find(GONE), "compared just now")
    worker.reconcile(learning.projects.find(GONE))
    assert "compared just now; a later try failed: Label Studio has no project 7" in (
        learning.projects.find(GONE).told
    )
    worker, began, tries = Worker(learning, threading.Event()), monotonic(), []
    for minutes in (0, 1, 6, 59, 61, 119):
        later = began + timedelta(minutes=minutes).total_seconds()
        monkeypatch.setattr(worker_module, "monotonic", lambda later=later: later)
        before = len(server.requests)
        worker.reconcile_due()
        tries.append(len(server.requests) > before)
    assert tries == [True, False, False, False, True, False]


def test_an_annotation_that_was_unusable_and_is_deleted_ends_no_comparison(
    learning, worker, server
):
    server.forbidden_files = {"upload/1/0123abcd-5.png"}
    deliver(learning, server, 1)
    worker.ingest()
    found = worker.reconcile(learning.projects.find(PROJECT))
    assert found.sentence.startswith("24 annotations compared, 0 withdrawn, 1 unusable")
    del server.tasks[5]
    found = worker.reconcile(learning.projects.find(PROJECT))
    assert found.succeeded, found.sentence
    assert found.sentence.startswith("23 annotations compared")
