"""A project is forgotten: nothing of it stays, and nothing else goes."""

import os
import time
from functools import partial

import pytest
from sqlalchemy import select

from ml_backend.__main__ import main
from ml_backend.learning.attention import look
from ml_backend.learning.fine_tune_jobs import LEASE, JobRow
from ml_backend.learning.inbox import MessageRow
from ml_backend.learning.projects import ProjectNews
from tests.ml_backend.learning.worker.disc_tasks import (
    PROJECT,
    deliver,
    move_back,
    tasks_with_samples,
)
from training.moments import now
from training.store.database import Base
from training.store.live_pointer import SITE, Mover, promote, roll_back
from training.store.model_versions import Candidate
from training.store.samples import Annotation
from training.store.sweep import sweep
from training.store.version_decisions import choose

ANN = Mover("ann", "looks better")


@pytest.fixture
def project(learning, worker, server):
    """Three accepted discs, a job that ended, one that waits, two versions, one of them live."""
    deliver(learning, server, 1, 2, 3)
    worker.ingest()
    for reason in ("button", "more"):
        job = learning.jobs.request(PROJECT, reason)
        (learning.job_folders.make(learning.jobs.get(job)) / "log.txt").write_text(reason)
        if reason == "button":
            learning.jobs.claim("w", job)
            learning.jobs.finish(job, "w", "promoted", "better", 2)
    checkpoint = learning.stores.versions.checkpoint(1)
    for job in (1, 2):
        key = learning.stores.files.put("reports", ".json", b'{"worse": [], "job": %d}' % job)
        learning.stores.versions.publish(
            Candidate(f"job {job}", checkpoint, project=PROJECT, parent=job, report=key)
        )
    learning.stores.versions.move(partial(choose, project=PROJECT, number=2, mover=ANN))
    return learning.projects.find(PROJECT)


@pytest.fixture
def command(environment, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["ml_backend", *arguments])
        status = main()
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def age(learning):
    for path in (learning.settings.model_dir / "files").rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)


def rows_that_name(learning, key):
    """Return the tables with a row of this project."""
    found = set()
    for mapper in Base.registry.mappers:
        if "project" in mapper.columns and mapper.class_ is not MessageRow:
            with learning.stores.database.read() as session:
                rows = select(mapper.class_).where(mapper.columns["project"] == key)
                if session.scalars(rows.limit(1)).first() is not None:
                    found.add(mapper.local_table.name)
    return found


def test_it_says_first_what_would_go(learning, project, command):
    status, printed = command("forget", "--project", "1")
    assert status == 0
    assert (
        "3 masks on 3 images, 2 versions, its jobs; --yes deletes them, but for versions" in printed
    )
    assert tasks_with_samples(learning) == [1, 2, 3]


def test_nothing_of_it_stays(learning, project, command):
    learning.projects.ask_to_reconcile(PROJECT)
    assert len(rows_that_name(learning, PROJECT)) == 5
    age(learning)
    status, printed = command("forget", "--project", project.key, "--yes")
    assert (status, printed) == (0, "8 files deleted\n")
    assert rows_that_name(learning, PROJECT) == set()
    assert learning.inbox.backlog(PROJECT).waiting == 0
    assert learning.projects.all() == []
    assert list((learning.settings.model_dir / "jobs").glob("*")) == []
    assert learning.stores.versions.live(PROJECT).version == 1
    assert learning.stores.versions.is_whole(1)
    status, printed = command("forget", "--project", "1")
    assert (status, printed) == (1, "project 1 has never been seen here\n")


def test_nothing_is_forgotten_whose_files_are_elsewhere(learning, project, command):
    files = learning.settings.model_dir / "files"
    files.rename(files.with_name("not mounted"))
    status, printed = command("forget", "--project", "1", "--yes")
    assert status == 1
    assert "nothing there is of this installation" in printed
    assert learning.samples.projects() == {PROJECT}


def databases_that_hold(learning, words):
    files = sorted(learning.settings.model_dir.glob("*.db*"))
    return [path.name for path in files if words in path.read_bytes()]


def test_of_messages_that_were_dealt_with_nothing_stays_on_disk(learning, worker, server):
    deliver(learning, server, 1)
    assert databases_that_hold(learning, b"0123abcd-1.png") == ["inbox.db-wal"]
    worker.tick()
    assert tasks_with_samples(learning) == [1]
    assert databases_that_hold(learning, b"0123abcd-1.png") == []


def test_of_a_project_that_is_forgotten_no_database_keeps_a_word(learning, project, server):
    deliver(learning, server, 4)
    assert databases_that_hold(learning, b"0123abcd-4.png") == ["inbox.db-wal"]
    learning.forget(PROJECT)
    assert databases_that_hold(learning, b"0123abcd") == []
    assert databases_that_hold(learning, PROJECT.encode()) == []


def test_what_a_worker_stored_meanwhile_goes_with_the_next_sweep(
    learning, project, command, server
):
    """It was in the middle of a comparison, and had read of the project before."""
    described = learning.projects.find(PROJECT)
    learning.forget(PROJECT)
    annotation = Annotation(PROJECT, 9, 9, now(), "empty")
    learning.samples.replace(annotation)
    learning.samples.withdraw_tasks("8.1", [1])
    learning.projects.remember("8.1", ProjectNews(title="of another"))
    command("sweep")
    assert rows_that_name(learning, described.key) == set()
    assert rows_that_name(learning, "8.1") == {"deleted_tasks"}


def test_files_too_young_to_go_are_said(learning, project, command):
    _, printed = command("forget", "--project", "1", "--yes")
    assert printed == "0 files deleted; 8 are younger than an hour: sweep again after that\n"
    age(learning)
    assert command("sweep", "--newest-versions", "1") == (0, "8 files deleted\n")


def test_what_the_site_was_served_with_stays_and_no_number_is_given_twice(learning, project):
    learning.stores.versions.move(partial(choose, project=SITE, number=2, mover=ANN))
    assert learning.forget(PROJECT) == [2]
    age(learning)
    sweep(learning.stores)
    assert learning.stores.versions.get(2).report is None
    assert learning.stores.files.keys("reports") == []
    assert learning.stores.versions.is_whole(2)
    assert learning.jobs.request(PROJECT, "button") == 3
    checkpoint = learning.stores.versions.checkpoint(1)
    new = learning.stores.versions.publish(Candidate("job 3", checkpoint, parent=1))
    assert new == 4


def test_weights_that_serve_nowhere_any_more_go_with_the_next_sweep(learning, project, command):
    learning.stores.versions.move(partial(choose, project=SITE, number=2, mover=ANN))
    age(learning)
    status, printed = command("forget", "--project", "1", "--yes")
    assert (status, printed.splitlines()[0]) == (
        0, "version 2 stays: it has served elsewhere, or is a parent",
    )  # fmt: skip
    learning.stores.versions.move(partial(roll_back, project=SITE, mover=ANN))
    assert command("sweep") == (0, "0 files deleted\n")
    assert learning.stores.versions.get(2).is_swept


def test_of_what_served_elsewhere_before_only_the_story_stays(learning, project, command):
    learning.stores.versions.move(partial(choose, project=SITE, number=2, mover=ANN))
    learning.stores.versions.move(partial(roll_back, project=SITE, mover=ANN))
    _, printed = command("forget", "--project", "1", "--yes")
    assert printed.startswith("what is known of version 2 stays: it has served elsewhere, or")
    assert learning.stores.versions.get(2).is_swept


def test_an_ancestor_that_stays_waits_for_nobody_and_leaves_its_weights(learning, project):
    versions, checkpoint = learning.stores.versions, learning.stores.versions.checkpoint(1)
    asked = {"verdict": "ask", "scores": {"compared_with": 1}}
    parent = versions.publish(Candidate("job 3", checkpoint, project=PROJECT, parent=1, **asked))
    child = versions.publish(Candidate("of another project", checkpoint, parent=parent))
    versions.move(partial(choose, project=SITE, number=child, mover=ANN))
    versions.move(partial(roll_back, project=SITE, mover=ANN))
    assert learning.forget(PROJECT) == [parent]
    assert look(learning).needs == {}
    assert versions.get(parent).is_swept
    assert versions.is_whole(child)


def test_other_projects_keep_what_is_theirs(learning, project, command):
    other = "7.1795327560"
    learning.projects.remember(other, ProjectNews(title="another"))
    learning.stores.versions.move(partial(promote, project=other, version=1, mover=ANN))
    learning.inbox.put("ANNOTATION_CREATED", other, b"{}")
    waiting = learning.jobs.request(other, "button")
    before = rows_that_name(learning, other)
    learning.forget(PROJECT)
    assert rows_that_name(learning, other) == before
    assert learning.inbox.backlog(other).waiting == 1
    assert learning.jobs.get(waiting).state == "waiting"


def test_a_job_that_runs_is_to_be_cancelled_first(learning, project, command):
    learning.jobs.claim("w", 2)
    status, printed = command("forget", "--project", "1", "--yes")
    assert status == 1
    assert printed == "job 2 of this project is running: cancel it first\n"
    assert tasks_with_samples(learning) == [1, 2, 3]


def test_a_job_whose_worker_died_keeps_nothing(learning, project, command):
    learning.jobs.claim("w", 2)
    move_back(learning, JobRow, beat_at=now() - 2 * LEASE)
    status, printed = command("forget", "--project", "1", "--yes")
    assert status == 0, printed
    assert learning.jobs.of_project(PROJECT) == []
