"""The sample store is brought in line with Label Studio, whatever no webhook told."""

import functools
import re
import threading
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from unittest.mock import Mock

import pytest
from sqlalchemy import select

import ml_backend.learning.worker as worker_module
from ml_backend.errors import ImageHostError
from ml_backend.images.task_images import TaskImages
from ml_backend.learning.assembly import open_learning
from ml_backend.learning.projects import ProjectNews
from ml_backend.learning.worker import Worker
from tests.ml_backend.learning.worker.disc_tasks import PROJECT, deliver, tasks_with_samples
from tests.ml_backend.task_pictures import png
from tests.training.disc_project import disc
from training.errors import DatabaseError, FileStoreError
from training.moments import now
from training.store.sample_rows import AnnotationRow, SampleRow


def worker_project(learning, server):
    deliver(learning, server, 1)
    Worker(learning, threading.Event()).ingest()


def test_one_project_that_cannot_be_compared_holds_up_no_other(
    learning, worker, server, monkeypatch
):
    worker_project(learning, server)
    learning.projects.remember("7.1795327560", ProjectNews(title="the last heard of is the first"))
    compare = worker_module.reconcile

    def full_disk(project, *others):
        if project.number == "7":
            raise OSError("quotes a token")
        return compare(project, *others)

    monkeypatch.setattr(worker_module, "reconcile", full_disk)
    worker.reconcile_due()
    failed, fine = learning.projects.find("7.1795327560"), learning.projects.find(PROJECT)
    assert failed.reconciled_at is None
    assert failed.told == "the last try failed: OSError; the worker's log says more"
    assert fine.reconcile_note == "24 annotations compared, 0 withdrawn"


def test_a_comparison_that_is_asked_for_needs_no_timetable(learning, worker, server, settings):
    worker_project(learning, server)
    quiet = open_learning(settings.model_copy(update={"reconcile_minutes": 0.0}))
    worker = Worker(quiet, threading.Event())
    worker.reconcile_due()
    assert quiet.projects.find(PROJECT).reconciled_at is None
    quiet.projects.ask_to_reconcile(PROJECT)
    worker.reconcile_due()
    assert "24 annotations" in quiet.projects.find(PROJECT).reconcile_note
    server.legacy_tokens_enabled = False
    quiet.projects.ask_to_reconcile(PROJECT)
    worker.reconcile_due()
    row = quiet.projects.find(PROJECT)
    assert row.reconciled_at is not None
    assert "0 withdrawn; a later try failed: Label Studio" in row.told
    quiet.close()


@pytest.mark.parametrize("minutes", [0.0, 60.0])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_comparison_that_is_asked_for_and_fails_is_tried_until_it_succeeds(
    learning, worker, server, monkeypatch, minutes, is_restarted
):
    worker_project(learning, server)
    settings = learning.settings.model_copy(update={"reconcile_minutes": minutes})
    learning = replace(learning, settings=settings)
    worker = Worker(learning, threading.Event())
    learning.projects.reconciled(learning.projects.find(PROJECT), "compared just now")
    learning.projects.ask_to_reconcile(PROJECT)
    server.legacy_tokens_enabled = False
    worker.reconcile_due()
    assert "compared just now; a later try failed: " in learning.projects.find(PROJECT).told
    server.legacy_tokens_enabled = True
    worker.reconcile_due()
    assert learning.projects.find(PROJECT).is_reconcile_asked_for, "not before five minutes"
    if is_restarted:
        worker = Worker(learning, threading.Event())
    else:
        pass_time(monkeypatch, timedelta(minutes=6))
    worker.reconcile_due()
    assert learning.projects.find(PROJECT).told == "24 annotations compared, 0 withdrawn"


def test_whoever_asks_for_a_comparison_of_a_project_that_is_gone_is_answered(learning, worker):
    gone = "7.1795327560"
    learning.projects.remember(gone, ProjectNews(title="deleted since"))
    learning.projects.ask_to_reconcile(gone)
    worker.reconcile_due()
    assert learning.projects.find(gone).told.startswith("the last try failed: Label Studio has no")
    assert not learning.projects.find(gone).is_reconcile_asked_for


def test_who_asks_during_a_comparison_gets_another(learning, worker, server, monkeypatch):
    worker_project(learning, server)
    learning.projects.ask_to_reconcile(PROJECT)
    compare, asked = worker_module.reconcile, []

    def asked_meanwhile(*arguments):
        sentence = compare(*arguments)
        if not asked:
            asked.append(learning.projects.ask_to_reconcile(PROJECT))
        return sentence

    monkeypatch.setattr(worker_module, "reconcile", asked_meanwhile)
    worker.reconcile_due()
    assert learning.projects.find(PROJECT).is_reconcile_asked_for
    worker.reconcile_due()
    assert learning.projects.find(PROJECT).reconcile_note == "24 annotations compared, 0 withdrawn"


def test_reconcile_finds_what_no_webhook_told(learning, worker, server):
    deliver(learning, server, 1)
    deliver(learning, server, 30, action="ANNOTATION_CREATED")  # deleted since, and nobody said so
    server.files["upload/1/0123abcd-30.png"] = png(disc(30)[0])
    worker.ingest()
    project = learning.projects.find(PROJECT)
    sentence = worker.reconcile(project).sentence
    assert "24 annotations compared, 1 withdrawn" in sentence
    assert tasks_with_samples(learning) == list(range(24))
    assert learning.projects.find(PROJECT).reconcile_note == sentence
    assert "24 annotations compared, 0 withdrawn" in worker.reconcile(project).sentence


def test_a_project_without_a_webhook_is_said(learning, worker, server):
    worker_project(learning, server)
    server.webhooks.clear()
    learning.projects.ask_to_reconcile(PROJECT)
    worker.reconcile_due()
    note = learning.projects.find(PROJECT).reconcile_note
    where = "; no webhook calls http://backend.internal:80,"
    assert note.startswith(f"24 annotations compared, 0 withdrawn{where}")
    server.webhooks.append({"url": "http://sam.internal/webhook", "send_for_all_actions": True})
    sentence = worker.reconcile(learning.projects.find(PROJECT)).sentence
    assert where in sentence


def test_reconcile_mends_what_changed_and_skips_what_is_broken(learning, worker, server):
    worker_project(learning, server)
    del server.files["upload/1/0123abcd-3.png"]
    sentence = worker.reconcile(learning.projects.find(PROJECT)).sentence
    assert "1 unusable" in sentence
    assert "task 3" in sentence
    assert 3 not in tasks_with_samples(learning)
    (annotation,) = server.tasks[5]["annotations"]
    annotation |= {"updated_at": "2026-11-23T00:00:00Z", "was_cancelled": True}
    server.files["upload/1/0123abcd-3.png"] = png(disc(3)[0])
    worker.reconcile(learning.projects.find(PROJECT))
    assert tasks_with_samples(learning) == [n for n in range(24) if n != 5]


class Watched(list):
    """A list of requests; what it is told to do happens before one of them is answered."""

    def __init__(self, part, action):
        self.part, self.action = part, action

    def append(self, asked):
        if self.part in asked[1]:
            self.action()
        super().append(asked)


def test_what_slips_to_a_page_already_read_is_not_withdrawn(learning, worker, server, monkeypatch):
    monkeypatch.setattr("ml_backend.label_studio.client.TASKS_PER_PAGE", 10)
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    left = [task for task in server.tasks if task["id"] != 2]
    server.requests = Watched("page=2", lambda: setattr(server, "tasks", left))
    for withdrawn in (0, 1):  # 2 was still there when its page was read
        sentence = worker.reconcile(learning.projects.find(PROJECT)).sentence
        assert sentence == f"23 annotations compared, {withdrawn} withdrawn"
    assert tasks_with_samples(learning) == [n for n in range(24) if n != 2]


def test_a_skip_that_no_webhook_told_can_be_taken_back(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    (annotation,) = server.tasks[5]["annotations"]
    listed, server.tasks[5]["total_annotations"] = server.tasks[5], 0
    annotation |= {"updated_at": "2026-11-23T00:00:00Z", "was_cancelled": True}
    assert worker.reconcile(learning.projects.find(PROJECT)).sentence.endswith("0 withdrawn")
    assert 5 not in tasks_with_samples(learning)
    annotation |= {"updated_at": "2026-11-23T00:01:00Z", "was_cancelled": False}
    listed["total_annotations"] = 1
    worker.reconcile(learning.projects.find(PROJECT))
    assert 5 in tasks_with_samples(learning)


def test_what_label_studio_lost_when_a_backup_was_restored_is_lost_here(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    (annotation,) = server.tasks[5]["annotations"]
    before = dict(annotation)
    annotation |= {"updated_at": "2026-11-23T00:00:00Z", "was_cancelled": True}
    worker.reconcile(learning.projects.find(PROJECT))
    assert 5 not in tasks_with_samples(learning)
    annotation |= before
    deliver(learning, server, 5)  # a message as old as that tells nothing
    worker.ingest()
    assert 5 not in tasks_with_samples(learning)
    worker.reconcile(learning.projects.find(PROJECT))
    assert 5 in tasks_with_samples(learning)


def test_labels_that_label_studio_renamed_without_a_word_are_renamed_here(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    server.tasks[5]["annotations"][0]["result"][0]["value"]["brushlabels"] = ["Cell"]
    server.files.clear()  # nothing is fetched for it
    assert worker.reconcile(learning.projects.find(PROJECT)).sentence.endswith("0 withdrawn")
    with learning.stores.database.read() as session:
        rows = select(AnnotationRow.task, SampleRow.label).join(SampleRow)
        labels = dict(session.execute(rows).all())
    assert labels == dict.fromkeys(range(24), "Object") | {5: "Cell"}


def test_reconcile_goes_on_after_an_image_that_label_studio_may_not_show(learning, worker, server):
    worker_project(learning, server)
    server.forbidden_files = {"upload/1/0123abcd-0.png"}
    sentence = worker.reconcile(learning.projects.find(PROJECT)).sentence
    assert sentence.startswith("24 annotations compared, 0 withdrawn, 1 unusable, such as: task 0")
    assert tasks_with_samples(learning) == list(range(1, 24))


@pytest.mark.parametrize("error", [MemoryError(), OSError("nobody foresaw it")])
def test_an_annotation_that_nobody_foresaw_holds_up_no_other(
    learning, worker, server, monkeypatch, caplog, error
):
    worker_project(learning, server)
    load = TaskImages.load

    def load_some(images, task, *others, **sizes):
        if task["id"] == 3:
            raise error
        return load(images, task, *others, **sizes)

    with monkeypatch.context() as patch:
        patch.setattr(TaskImages, "load", load_some)
        sentence = compare(learning, worker)
    note = f"annotation 103 cannot be taken: {type(error).__name__}; the worker's log says more"
    assert sentence == f"24 annotations compared, 0 withdrawn, 1 unusable, such as: {note}"
    assert tasks_with_samples(learning) == [n for n in range(24) if n != 3]
    with learning.stores.database.read() as session:
        row = session.get(AnnotationRow, (PROJECT, 103))
    assert (row.status, row.notes) == ("unreadable", [note])
    assert "Traceback" in caplog.text
    assert compare(learning, worker) == "24 annotations compared, 0 withdrawn"
    assert tasks_with_samples(learning) == list(range(24))


@pytest.mark.parametrize("away", [FileStoreError, DatabaseError])
def test_a_comparison_ends_where_nothing_can_be_stored(learning, worker, server, monkeypatch, away):
    worker_project(learning, server)
    monkeypatch.setattr(TaskImages, "load", Mock(side_effect=away("the store does not answer")))
    assert compare(learning, worker) == "not compared: the store does not answer"
    with learning.stores.database.read() as session:
        assert session.get(AnnotationRow, (PROJECT, 100)) is None


def compare(learning, worker):
    return worker.reconcile(learning.projects.find(PROJECT)).sentence


def test_images_that_do_not_come_are_tried_last_and_hold_up_neither_others_nor_the_next_comparison(
    learning, worker, server, monkeypatch
):
    worker_project(learning, server)
    asked, silent, load = [], {2, 3, 4, 5, 6}, TaskImages.load

    def load_some(images, task, *others, **sizes):
        asked.append(task["id"])
        if task["id"] in silent:
            raise ImageHostError(f"task {task['id']}: no answer")
        return load(images, task, *others, **sizes)

    monkeypatch.setattr(TaskImages, "load", load_some)
    learning.inbox.fail(learning.inbox.put("ANNOTATION_CREATED", PROJECT, b"{}"), "no answer")
    first = worker.reconcile(learning.projects.find(PROJECT))
    assert not first.succeeded, "so it is tried again after a pause"
    assert first.sentence == (
        "not compared: of 24 annotations 19 wait for the next try, because images do not come: "
        "task 4: no answer"
    )
    assert asked == [0, 2, 3, 4]
    assert learning.inbox.backlog(PROJECT).failed == 1
    assert tasks_with_samples(learning) == [0, 1]
    sentence = compare(learning, worker)  # goes on where the last one stopped
    assert asked[4:] == [5, 6, *range(7, 24), 2, 3, 4]
    assert sentence.startswith("24 annotations compared, 0 withdrawn, 5 unusable, such as: task 5")
    assert sentence.endswith("so the other unusable ones wait for the next time")
    assert learning.inbox.backlog(PROJECT).failed == 0
    asked.clear()
    compare(learning, worker)  # whoever was tried longest ago is the first
    assert asked == [5, 6, 2]
    silent.clear()
    assert compare(learning, worker) == "24 annotations compared, 0 withdrawn"
    assert tasks_with_samples(learning) == list(range(24))


def test_when_label_studio_goes_away_while_listing_nothing_is_withdrawn(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    server.legacy_tokens_enabled = False
    sentence = worker.reconcile(learning.projects.find(PROJECT)).sentence
    assert sentence.startswith("not compared: Label Studio")
    assert len(tasks_with_samples(learning)) == 24


def test_a_new_project_under_an_old_number_is_not_compared_with(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    server.project |= {"created_at": "2027-01-01T00:00:00Z"}
    server.tasks = []
    assert "another one now" in worker.reconcile(learning.projects.find(PROJECT)).sentence
    assert len(tasks_with_samples(learning)) == 24


def test_a_project_that_label_studio_deleted_is_asked_for_at_its_usual_turns(
    learning, worker, server, monkeypatch
):
    worker_project(learning, server)
    gone = "7.1795327560"
    learning.projects.remember(gone, ProjectNews(title="deleted since"))
    worker.reconcile_due()
    note = learning.projects.find(gone).told
    assert "Label Studio has no project 7, or does not show it to this account" in note
    assert note.endswith(f"forget --project {gone} --yes deletes what is kept")
    compare, compared = worker_module.reconcile, []

    def counted(project, *others):
        compared.append(project.key)
        return compare(project, *others)

    monkeypatch.setattr(worker_module, "reconcile", counted)
    for minutes in (6, 61):
        pass_time(monkeypatch, timedelta(minutes=minutes))
        worker.reconcile_due()
    assert compared.count(gone) == 1


def pass_time(monkeypatch, time, clock=None):
    """Let time pass, during which the clock may be set."""
    clock, later = now() + (clock or time), monotonic() + time.total_seconds()
    monkeypatch.setattr(worker_module, "now", lambda: clock)
    monkeypatch.setattr(worker_module, "monotonic", lambda: later)


def test_a_clock_that_was_set_back_keeps_no_project_from_being_compared(
    learning, worker, server, monkeypatch
):
    worker_project(learning, server)
    server.legacy_tokens_enabled = False
    worker.reconcile_due()
    server.legacy_tokens_enabled = True
    pass_time(monkeypatch, timedelta(minutes=6), clock=timedelta(days=-1))
    worker.reconcile_due()
    assert learning.projects.find(PROJECT).reconcile_note == "24 annotations compared, 0 withdrawn"


def test_whoever_compares_hears_of_a_failure_though_another_asks_meanwhile(
    learning, worker, server
):
    worker_project(learning, server)
    ask = functools.partial(learning.projects.ask_to_reconcile, PROJECT)
    server.requests = Watched("/api/projects", ask)
    server.legacy_tokens_enabled = False
    assert not worker.reconcile(learning.projects.find(PROJECT)).succeeded
    row = learning.projects.find(PROJECT)
    assert row.is_reconcile_asked_for
    assert row.told.startswith("the last try failed: Label Studio")


def test_whoever_asks_for_another_comparison_still_reads_why_the_last_one_failed(
    learning, worker, server
):
    worker_project(learning, server)
    server.legacy_tokens_enabled = False
    worker.reconcile(learning.projects.find(PROJECT))
    failed = learning.projects.find(PROJECT).told
    for _ in range(2):
        learning.projects.ask_to_reconcile(PROJECT)
    row = learning.projects.find(PROJECT)
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    asked = f"; a comparison that was asked for at {moment} is to come or under way"
    assert re.fullmatch(re.escape(failed) + asked, row.told)
    server.legacy_tokens_enabled = True
    worker.reconcile_due()
    assert learning.projects.find(PROJECT).told == "24 annotations compared, 0 withdrawn"
