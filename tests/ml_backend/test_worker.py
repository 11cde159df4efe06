"""The worker as a real process: it is started, killed, started again; nothing is lost."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

import ml_backend.worker as worker_module
from ml_backend import brush_rle
from ml_backend.fine_tune_jobs import JobRow
from ml_backend.jobs import NoDuties, declare_tasks, open_queue
from ml_backend.learning import open_learning
from ml_backend.projects import ProjectNews
from ml_backend.settings import Settings
from ml_backend.worker import Worker
from tests.ml_backend.stand_in import LEGACY_TOKEN, StandInLabelStudio, serving
from tests.training.disc_project import disc
from training.database import now
from training.sample_rows import AnnotationRow, SampleRow

ROOT = Path(__file__).parents[2]
PROJECT = "1.1795327560"
CREATED_AT = "2026-11-22T06:06:00.942531Z"
RECIPE = """
batch_size: 2
steps: 12
validate_every: 4
validation_objects: 2
validation_clicks: 1
optimization: {warmup: 0}
"""


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def task(number):
    """A task of the stand-in with one accepted disc."""
    _, mask = disc(number)
    region = {
        "id": f"r{number}", "type": "brushlabels", "from_name": "brush", "to_name": "image",
        "original_width": mask.shape[1], "original_height": mask.shape[0],
        "value": {"format": "rle", "rle": brush_rle.encode(mask), "brushlabels": ["Object"]},
    }  # fmt: skip
    annotation = {
        "id": 100 + number, "task": number, "was_cancelled": False, "result": [region],
        "updated_at": f"2026-11-22T06:15:{number % 60:02}.256890Z",
    }  # fmt: skip
    data = {"image": f"/data/upload/1/0123abcd-{number}.png"}
    return {"id": number, "data": data, "annotations": [annotation]}


def webhook(server, number, action="ANNOTATION_CREATED"):
    found = task(number)
    (annotation,) = found.pop("annotations")
    return {"action": action, "annotation": annotation, "task": found, "project": server.project}


@pytest.fixture
def server():
    """Label Studio with 24 annotated tasks."""
    server = StandInLabelStudio(tasks=[task(number) for number in range(24)])
    server.project |= {"created_at": CREATED_AT}
    server.files = {f"upload/1/0123abcd-{n}.png": png(disc(n)[0]) for n in range(24)}
    with contextlib.ExitStack() as stack:
        server.url = stack.enter_context(serving(server.app()))
        yield server


@pytest.fixture
def environment(tmp_path, checkpoint, server):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    return {
        "ICMFORMER_MODEL_DIR": str(tmp_path / "state"),
        "ICMFORMER_CHECKPOINT": str(checkpoint),
        "ICMFORMER_DEVICE": "cpu",
        "ICMFORMER_FINE_TUNE_RECIPE": str(recipe),
        "ICMFORMER_FINE_TUNE_AFTER": "0",
        "ICMFORMER_RECONCILE_MINUTES": "0",
        "ICMFORMER_GATE_MIN_OBJECTS": "1",
        "ICMFORMER_GATE_MIN_IMAGES": "1",
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": LEGACY_TOKEN,
    }


def settings_of(environment):
    return Settings(
        model_dir=environment["ICMFORMER_MODEL_DIR"],
        checkpoint=environment["ICMFORMER_CHECKPOINT"],
        device="cpu",
        fine_tune_recipe=environment["ICMFORMER_FINE_TUNE_RECIPE"],
        label_studio_url=environment["LABEL_STUDIO_URL"],
        label_studio_api_key=LEGACY_TOKEN,
        fine_tune_after=5,
        fine_tune_quiet_minutes=0,
    )


@pytest.fixture
def settings(environment):
    return settings_of(environment)


@pytest.fixture
def learning(settings):
    learning = open_learning(settings)
    yield learning
    learning.close()


@pytest.fixture
def worker(learning):
    return Worker(learning, threading.Event())


def deliver(learning, server, *numbers, **options):
    for number in numbers:
        body = webhook(server, number, **options)
        learning.inbox.put(body["action"], PROJECT, json.dumps(body).encode())


def tasks_with_samples(learning):
    with learning.stores.database.read() as session:
        return sorted(row.task for row in session.scalars(select(SampleRow)))


def test_messages_become_samples_with_images_from_label_studio(learning, worker, server):
    deliver(learning, server, 1, 2)
    worker.ingest()
    assert tasks_with_samples(learning) == [1, 2]
    assert learning.inbox.backlog().waiting == 0


def test_a_webhook_does_not_wait_while_samples_are_stored(learning, server):
    with learning.stores.database.write():
        deliver(learning, server, 1)
    assert learning.inbox.backlog().waiting == 1


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


def test_nothing_starts_while_annotators_are_at_it(learning, server, settings):
    busy = settings.model_copy(update={"fine_tune_quiet_minutes": 10.0})
    learning = open_learning(busy)
    deliver(learning, server, *range(6))
    Worker(learning, threading.Event()).tick()
    assert learning.jobs.of_project(PROJECT) == []
    learning.close()


def test_the_schedule_asks_where_anything_is_new(learning, server, settings):
    nightly = settings.model_copy(update={"fine_tune_schedule": "* * * * *", "fine_tune_after": 0})
    learning = open_learning(nightly)
    worker = Worker(learning, threading.Event())
    worker.tick()
    assert learning.jobs.of_project(PROJECT) == []
    deliver(learning, server, 1)
    worker.ingest()
    with learning.stores.database.write() as session:
        for row in session.scalars(select(SampleRow)):
            row.stored_at = row.stored_at.replace(year=2025)
    worker.tick()
    (job,) = learning.jobs.of_project(PROJECT)
    assert job.reasons == ["scheduled (* * * * *)"]
    learning.close()


def move_back(learning, row_type, **changes):
    """Change every row, such as the time when it was written."""
    with learning.stores.database.write() as session:
        for row in session.scalars(select(row_type)):
            for name, value in changes.items():
                setattr(row, name, value)


def test_a_turn_of_the_schedule_that_was_before_the_first_new_mask_is_not_made_up_for(
    learning, server, settings
):
    hourly = settings.model_copy(update={"fine_tune_schedule": "0 * * * *", "fine_tune_after": 0})
    learning = open_learning(hourly)
    worker = Worker(learning, threading.Event())
    deliver(learning, server, 1)
    worker.ingest()
    long_ago = now() - timedelta(days=1)
    job = learning.jobs.request(PROJECT, "by hand")
    learning.jobs.cancel(job)
    move_back(learning, JobRow, requested_at=long_ago)
    this_hour = now().replace(minute=0, second=0, microsecond=0)
    move_back(learning, SampleRow, stored_at=this_hour + timedelta(microseconds=1))
    worker.tick()
    assert len(learning.jobs.of_project(PROJECT)) == 1
    move_back(learning, SampleRow, stored_at=this_hour - timedelta(minutes=1))
    worker.tick()
    assert len(learning.jobs.of_project(PROJECT)) == 2
    learning.close()


def test_what_a_failed_job_was_to_learn_is_tried_again_ever_more_rarely(learning, worker, server):
    deliver(learning, server, *range(6))
    worker.tick()
    for failures, hours in ((1, 1), (2, 2), (3, 4)):
        job = learning.jobs.claim("worker")
        learning.jobs.fail(job.id, "worker", "No space left on device")
        worker.tick()
        assert len(learning.jobs.of_project(PROJECT)) == failures
        move_back(learning, JobRow, finished_at=now() - timedelta(hours=hours, minutes=-1))
        worker.tick()
        assert len(learning.jobs.of_project(PROJECT)) == failures
        move_back(learning, JobRow, finished_at=now() - timedelta(hours=hours))
        worker.tick()
        assert len(learning.jobs.of_project(PROJECT)) == failures + 1


def test_one_project_that_cannot_be_compared_holds_up_no_other(
    learning, worker, server, monkeypatch
):
    worker_project(learning, server)
    learning.projects.remember("7.1795327560", ProjectNews(title="the last heard of is the first"))
    compare = worker_module.reconcile

    def full_disk(project, *others):
        if project.number == "7":
            raise OSError("No space left on device")
        return compare(project, *others)

    monkeypatch.setattr(worker_module, "reconcile", full_disk)
    worker.reconcile_due()
    failed, fine = learning.projects.find("7.1795327560"), learning.projects.find(PROJECT)
    assert failed.reconciled_at is None
    assert "the last try failed: OSError" in failed.reconcile_note
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
    assert row.reconcile_note.startswith("the last try failed: Label Studio")
    quiet.close()


def test_reconcile_finds_what_no_webhook_told(learning, worker, server):
    deliver(learning, server, 1)
    deliver(learning, server, 30, action="ANNOTATION_CREATED")  # deleted since, and nobody said so
    server.files["upload/1/0123abcd-30.png"] = png(disc(30)[0])
    worker.ingest()
    project = learning.projects.find(PROJECT)
    sentence = worker.reconcile(project)
    assert "24 annotations compared, 1 withdrawn" in sentence
    assert tasks_with_samples(learning) == list(range(24))
    assert learning.projects.find(PROJECT).reconcile_note == sentence
    assert "24 annotations compared, 0 withdrawn" in worker.reconcile(project)


def test_reconcile_mends_what_changed_and_skips_what_is_broken(learning, worker, server):
    worker_project(learning, server)
    del server.files["upload/1/0123abcd-3.png"]
    sentence = worker.reconcile(learning.projects.find(PROJECT))
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
    monkeypatch.setattr("ml_backend.label_studio.TASKS_PER_PAGE", 10)
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    left = [task for task in server.tasks if task["id"] != 2]
    server.requests = Watched("page=2", lambda: setattr(server, "tasks", left))
    for withdrawn in (0, 1):  # 2 was still there when its page was read
        sentence = worker.reconcile(learning.projects.find(PROJECT))
        assert sentence == f"23 annotations compared, {withdrawn} withdrawn"
    assert tasks_with_samples(learning) == [n for n in range(24) if n != 2]


def test_a_skip_that_no_webhook_told_can_be_taken_back(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    (annotation,) = server.tasks[5]["annotations"]
    listed, server.tasks[5]["total_annotations"] = server.tasks[5], 0
    annotation |= {"updated_at": "2026-11-23T00:00:00Z", "was_cancelled": True}
    assert worker.reconcile(learning.projects.find(PROJECT)).endswith("0 withdrawn")
    assert 5 not in tasks_with_samples(learning)
    annotation |= {"updated_at": "2026-11-23T00:01:00Z", "was_cancelled": False}
    listed["total_annotations"] = 1
    worker.reconcile(learning.projects.find(PROJECT))
    assert 5 in tasks_with_samples(learning)


def test_reconcile_goes_on_after_an_image_that_label_studio_may_not_show(learning, worker, server):
    worker_project(learning, server)
    server.forbidden_files = {"upload/1/0123abcd-0.png"}
    sentence = worker.reconcile(learning.projects.find(PROJECT))
    assert sentence.startswith("24 annotations compared, 0 withdrawn, 1 unusable, such as: task 0")
    assert tasks_with_samples(learning) == list(range(1, 24))


def test_when_label_studio_goes_away_while_listing_nothing_is_withdrawn(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    server.legacy_tokens_enabled = False
    sentence = worker.reconcile(learning.projects.find(PROJECT))
    assert sentence.startswith("not compared: Label Studio")
    assert len(tasks_with_samples(learning)) == 24


def test_a_new_project_under_an_old_number_is_not_compared_with(learning, worker, server):
    worker_project(learning, server)
    worker.reconcile(learning.projects.find(PROJECT))
    server.project |= {"created_at": "2027-01-01T00:00:00Z"}
    server.tasks = []
    assert "another one now" in worker.reconcile(learning.projects.find(PROJECT))
    assert len(tasks_with_samples(learning)) == 24


def worker_project(learning, server):
    deliver(learning, server, 1)
    Worker(learning, threading.Event()).ingest()


@contextlib.contextmanager
def working(environment):
    """The worker as people start it."""
    log = Path(environment["ICMFORMER_MODEL_DIR"]).parent / "worker.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml_backend", "work"],
            cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_until(condition, process, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)


def stages(learning, job):
    row = learning.jobs.get(job)
    return row.state, row.stage


@pytest.mark.slow
def test_killed_at_every_stage_the_next_worker_ends_it(environment, learning, server):
    """kill -9 while ingesting, judging, training and deciding; each time another worker goes on."""
    with working(environment) as process:
        deliver(learning, server, *range(24))
        wait_until(lambda: tasks_with_samples(learning), process)
        process.kill()
    assert len(tasks_with_samples(learning)) < 24
    with working(environment) as process:
        wait_until(lambda: len(tasks_with_samples(learning)) == 24, process)
    with learning.stores.database.read() as session:
        rows = session.scalars(select(AnnotationRow)).all()
    assert {row.status for row in rows} == {"accepted"}

    job = learning.jobs.request(PROJECT, "Start training")
    for stage in ("judging the live version", "training", "judging the candidate"):
        with working(environment) as process:
            wait_until(lambda stage=stage: stages(learning, job) == ("running", stage), process)
            process.kill()
        with learning.stores.database.write() as session:
            session.get(JobRow, job).attempts = 0  # three kills would be enough to give up
    with working(environment) as process:
        wait_until(lambda: learning.jobs.get(job).state == "finished", process)
    row = learning.jobs.get(job)
    assert row.result in ("kept", "asked", "promoted")
    assert row.version == 2
    assert len(learning.stores.versions.usable_by(PROJECT)) == 2


@pytest.mark.slow
def test_told_to_stop_it_gives_the_job_back_at_once(environment, settings, learning, server):
    deliver(learning, server, *range(12))
    with working(environment) as process:
        wait_until(lambda: len(tasks_with_samples(learning)) == 12, process)
        learning.jobs.request(PROJECT, "Start training")
        declare_tasks(open_queue(settings), NoDuties()).train()
        wait_until(lambda: stages(learning, 1)[0] == "running", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    row = learning.jobs.get(1)
    assert (row.state, row.attempts) == ("waiting", 0)


def gives_way(worker):
    """Say whether the worker's job has the lowest priority, in a session of its own."""
    found = subprocess.run(
        ["pgrep", "-P", str(worker.pid), "-f", "run-job"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    jobs = [int(number) for number in found.stdout.split()]
    return any((os.getpriority(os.PRIO_PROCESS, job), os.getsid(job)) == (19, job) for job in jobs)


@pytest.mark.slow
def test_a_running_job_gives_way_and_can_be_cancelled(environment, settings, learning, server):
    deliver(learning, server, *range(12))
    with working(environment) as process:
        wait_until(lambda: len(tasks_with_samples(learning)) == 12, process)
        job = learning.jobs.request(PROJECT, "Start training")
        declare_tasks(open_queue(settings), NoDuties()).train()
        wait_until(lambda: stages(learning, job)[0] == "running", process)
        wait_until(lambda: gives_way(process), process)
        learning.jobs.cancel(job)
        wait_until(lambda: learning.jobs.get(job).state == "cancelled", process)
    assert learning.stores.versions.live(PROJECT).version == 1


def command(environment, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "ml_backend", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_commands_do_what_they_say(environment, learning, worker, server):
    deliver(learning, server, *range(12))
    worker.ingest()
    trained = command(environment, "fine-tune", "--project", "1")
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith("job 1: ")
    assert "step 12" in (learning.job_folder(1) / "log.txt").read_text()
    listed = command(environment, "versions", "--project", "1").stdout
    assert "v2-" in listed
    assert "live: " in listed
    promoted = command(environment, "promote", "2", "--project", "1", "--reason", "I looked")
    assert promoted.stdout.startswith("live for project 1: v2-")
    assert "(pinned)" in command(environment, "pin", "--project", "1").stdout
    assert "(pinned)" not in command(environment, "unpin", "--project", "1").stdout
    back = command(environment, "rollback", "--project", "1")
    assert "(of the site)" in back.stdout
    assert command(environment, "rollback", "--project", "1").returncode == 1
    assert "24 annotations" in command(environment, "reconcile").stdout
    unknown = command(environment, "fine-tune", "--project", "77")
    assert (unknown.returncode, unknown.stderr) == (1, "project 77 has never been seen here\n")
    moves = learning.stores.versions.history(PROJECT)
    assert [move.move for move in moves] == ["promote", "pin", "unpin", "rollback"]
    assert moves[0].reason == "I looked"
