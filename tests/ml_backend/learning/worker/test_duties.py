"""When the worker ingests, and when it asks for a job."""

import contextlib
import json
import sqlite3
import threading
import time
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import select

from ml_backend.label_studio import brush_rle
from ml_backend.learning.assembly import open_learning
from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.ingest import ATTEMPTS
from ml_backend.learning.job_runner import Heart, StopJob
from ml_backend.learning.worker import Worker
from tests.ml_backend.learning.worker.disc_tasks import (
    PROJECT,
    deliver,
    move_back,
    task,
    tasks_with_samples,
)
from tests.ml_backend.task_pictures import png
from tests.training.disc_project import disc
from tests.waiting import wait_until
from training.errors import DatabaseError
from training.moments import now
from training.store.sample_rows import SampleRow


def test_messages_become_samples_with_images_from_label_studio(learning, worker, server):
    deliver(learning, server, 1, 2)
    worker.ingest()
    assert tasks_with_samples(learning) == [1, 2]
    assert learning.inbox.backlog(PROJECT).waiting == 0


def of_image(number, drawn):
    """A task, annotated on its image as it is by now."""
    found = task(number)
    (annotation,) = found["annotations"]
    (region,) = annotation["result"]
    height, width = drawn.shape
    region |= {"original_width": width, "original_height": height}
    region["value"] |= {"rle": brush_rle.encode(drawn)}
    return found


def annotated(learning, worker, server, annotation, found):
    about = found["annotations"][0] | {"id": annotation}
    body = {"annotation": about, "task": found, "project": server.project}
    learning.inbox.put("ANNOTATION_CREATED", PROJECT, json.dumps(body).encode())
    worker.ingest()


def images_of(learning):
    with learning.stores.database.read() as session:
        rows = session.scalars(select(SampleRow).order_by(SampleRow.annotation))
        return {row.annotation: row.image for row in rows}


@pytest.mark.parametrize("is_resized", [True, False])
def test_masks_on_a_file_that_was_replaced_are_learned_with_the_new_one(
    learning, worker, server, monkeypatch, is_resized
):
    image, drawn = disc(1)
    annotated(learning, worker, server, 1, of_image(1, drawn))
    if is_resized:
        image, drawn = image[:-8], drawn[:-8]
    server.files["upload/1/0123abcd-1.png"] = png(np.ascontiguousarray(255 - image))
    if not is_resized:
        later = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: later)
    for annotation in (2, 3):
        annotated(learning, worker, server, annotation, of_image(1, drawn))
    stored = images_of(learning)
    assert stored.keys() == {1, 2, 3}
    assert stored[1] != stored[2] == stored[3]
    assert len(server.paths("/data/upload")) == 2


def test_a_webhook_does_not_wait_while_samples_are_stored(learning, server):
    with learning.stores.database.write():
        deliver(learning, server, 1)
    assert learning.inbox.backlog(PROJECT).waiting == 1


def test_enough_new_samples_and_quiet_ask_for_a_job_once(learning, worker, server):
    deliver(learning, server, 1, 2, 3, 4)
    worker.tick()
    assert learning.jobs.of_project(PROJECT) == []
    deliver(learning, server, 5)
    worker.tick()
    worker.tick()
    (job,) = learning.jobs.of_project(PROJECT)
    assert job.reasons == ["5 new samples"]
    learning.jobs.cancel(job.id)
    worker.tick()
    assert len(learning.jobs.of_project(PROJECT)) == 1


def test_a_job_learns_that_it_was_cancelled_before_its_next_stage_begins(learning):
    learning.jobs.request(PROJECT, "Start training")
    job = learning.jobs.claim("worker")
    with Heart(learning, job, watched_by=None) as heart:
        heart.tell("judging the candidate", 4, 4)
        learning.jobs.cancel(job.id)
        with pytest.raises(StopJob):
            heart.tell("going live", 1, 1)


def test_only_a_job_that_keeps_something_new_gets_further(learning):
    learning.jobs.request(PROJECT, "Start training")
    job = learning.jobs.claim("worker")
    folder = learning.job_folders.make(job)
    (folder / "state-000000000150.pt").touch()
    with learning.stores.database.write() as session:
        session.get(JobRow, job.id).attempts = 2
    with Heart(learning, job, watched_by=None) as heart:
        for name in ("state-000000000150.pt", ".plan.json", "unfinished", "log.txt"):
            (folder / name).touch()
        (folder / "decoded").mkdir()
        heart.tell("training", 151, 300)
        assert learning.jobs.get(job.id).attempts == 2
        (folder / "state-000000000300.pt").touch()
        heart.tell("judging the candidate", 0, 9)
        assert learning.jobs.get(job.id).attempts == 1


def test_a_cancelled_job_says_so_once_however_long_it_takes_to_stop(learning, caplog):
    caplog.set_level("INFO", "ml_backend.learning.job_runner")
    learning.jobs.request(PROJECT, "Start training")
    job = learning.jobs.claim("worker")
    learning.jobs.cancel(job.id)
    with Heart(learning, job, watched_by=None) as heart:
        for stage in ("training", "judging the candidate", "deciding"):
            with pytest.raises(StopJob):
                heart.tell(stage, 1, 1)
    assert caplog.messages.count("job 1 was cancelled") == 1


def test_a_job_logs_each_stage_and_now_and_then_how_far_it_is(learning, caplog, monkeypatch):
    caplog.set_level("INFO", "ml_backend.learning.job_runner")
    learning.jobs.request(PROJECT, "Start training")
    job = learning.jobs.claim("worker")
    with Heart(learning, job, watched_by=None) as heart:
        heart.tell("judging the live version", 1, 3)
        heart.tell("judging the live version", 2, 3)
        heart.tell("training", 1, 300)
        monkeypatch.setattr("ml_backend.learning.job_runner.TELL_SECONDS", 0.0)
        heart.tell("training", 2, 300)
    said = ["judging the live version, 1 of 3", "training, 1 of 300", "training, 2 of 300"]
    assert len(caplog.messages) == len(said)
    assert all(f"job 1: {what}" in line for what, line in zip(said, caplog.messages, strict=True))
    assert caplog.messages[-1].endswith("min left")


def test_nothing_starts_while_annotators_are_at_it(learning, server, settings):
    busy = settings.model_copy(update={"fine_tune_quiet_minutes": 10.0})
    learning = open_learning(busy)
    deliver(learning, server, *range(6))
    Worker(learning, threading.Event()).tick()
    assert learning.jobs.of_project(PROJECT) == []
    learning.close()


def test_quiet_is_not_waited_for_in_vain(learning, server, settings):
    busy = settings.model_copy(update={"fine_tune_quiet_minutes": 10.0})
    learning = open_learning(busy)
    deliver(learning, server, *range(5))
    worker = Worker(learning, threading.Event())
    worker.ingest()
    move_back(learning, SampleRow, stored_at=now() - timedelta(days=2))
    deliver(learning, server, 5)
    worker.tick()
    assert len(learning.jobs.of_project(PROJECT)) == 1
    learning.close()


def test_masks_that_were_stored_while_the_clock_was_ahead_count_as_stored_now(
    learning, worker, server
):
    deliver(learning, server, *range(5))
    worker.ingest()
    move_back(learning, SampleRow, stored_at=now() + timedelta(hours=5))
    worker.tick()
    with learning.stores.database.read() as session:
        assert all(row.stored_at <= now() for row in session.scalars(select(SampleRow)))
    (job,) = learning.jobs.of_project(PROJECT)
    assert job.reasons == ["5 new samples"]


def test_the_schedule_asks_where_anything_is_new(learning, server, settings):
    nightly = settings.model_copy(update={"fine_tune_schedule": "* * * * *", "fine_tune_after": 0})
    learning = open_learning(nightly)
    worker = Worker(learning, threading.Event())
    worker.tick()
    assert learning.jobs.of_project(PROJECT) == []
    deliver(learning, server, 1)
    worker.ingest()
    move_back(learning, SampleRow, stored_at=now() - timedelta(days=400))
    worker.tick()
    (job,) = learning.jobs.of_project(PROJECT)
    assert job.reasons == ["scheduled (* * * * *)"]
    learning.close()


def test_a_turn_of_the_schedule_that_was_before_the_first_new_mask_is_not_made_up_for(
    learning, server, settings
):
    yearly = settings.model_copy(update={"fine_tune_schedule": "0 0 1 1 *", "fine_tune_after": 0})
    learning = open_learning(yearly)
    worker = Worker(learning, threading.Event())
    deliver(learning, server, 1)
    worker.ingest()
    long_ago = now() - timedelta(days=800)
    job = learning.jobs.request(PROJECT, "by hand")
    learning.jobs.cancel(job)
    move_back(learning, JobRow, requested_at=long_ago, finished_at=long_ago)
    this_year = now().replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    move_back(learning, SampleRow, stored_at=this_year + timedelta(microseconds=1))
    worker.tick()
    assert len(learning.jobs.of_project(PROJECT)) == 1
    move_back(learning, SampleRow, stored_at=this_year - timedelta(minutes=1))
    worker.tick()
    assert len(learning.jobs.of_project(PROJECT)) == 2
    learning.close()


def test_what_a_cancelled_job_was_to_learn_is_learned_at_the_next_turn(learning, server, settings):
    yearly = settings.model_copy(update={"fine_tune_schedule": "0 0 1 1 *", "fine_tune_after": 0})
    learning = open_learning(yearly)
    worker = Worker(learning, threading.Event())
    deliver(learning, server, 1)
    worker.ingest()
    this_year = now().replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    move_back(learning, SampleRow, stored_at=this_year - timedelta(minutes=2))
    job = learning.jobs.request(PROJECT, "by hand")
    learning.jobs.cancel(job)
    move_back(learning, JobRow, requested_at=this_year, finished_at=this_year)
    worker.tick()
    assert len(learning.jobs.of_project(PROJECT)) == 1
    just_before = this_year - timedelta(minutes=1)
    move_back(learning, JobRow, requested_at=just_before, finished_at=just_before)
    worker.tick()
    newest, _ = learning.jobs.of_project(PROJECT)
    assert newest.reasons == ["scheduled (0 0 1 1 *)"]
    learning.close()


def of_inbox(settings, query):
    with contextlib.closing(sqlite3.connect(settings.model_dir / "inbox.db")) as inbox, inbox:
        return inbox.execute(query).fetchall()


def test_whoever_brings_news_does_not_wait_for_who_stores_it(learning, worker, server, settings):
    deliver(learning, server, 1)
    first = threading.Thread(target=worker.ingest)
    with learning.stores.database.write():  # so that nothing can be stored yet
        first.start()
        wait_until(lambda: of_inbox(settings, "SELECT attempts FROM inbox") != [(0,)])
        deliver(learning, server, 2)
        worker.ingest()
        assert first.is_alive()
    first.join()
    assert tasks_with_samples(learning) == [1, 2]


def test_a_database_that_is_away_costs_no_message_its_attempts(learning, worker, settings):
    body = {"action": "START_TRAINING", "project": {"id": 1, "label_config": "<View/>"}}
    learning.inbox.put("START_TRAINING", PROJECT, json.dumps(body).encode())
    state = sqlite3.connect(settings.model_dir / "state.db")
    state.execute("ALTER TABLE fine_tune_jobs RENAME TO away")
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(DatabaseError):
            worker.ingest()
        of_inbox(settings, "UPDATE inbox SET due_at = received_at")
    state.execute("ALTER TABLE away RENAME TO fine_tune_jobs")
    state.close()
    worker.ingest()
    assert [job.state for job in learning.jobs.of_project(PROJECT)] == ["waiting"]


def test_files_that_are_not_where_they_were_are_told_of_each_minute(learning, worker, caplog):
    folder = learning.settings.state_folder.files
    worker.tick()
    assert "missing from the stored files" not in caplog.text
    folder.rename(folder.with_name("elsewhere"))
    worker.tick()
    assert caplog.text.count("missing from the stored files") == 1
    folder.with_name("elsewhere").rename(folder)
    worker.tick()
    assert caplog.text.count("missing from the stored files") == 1
