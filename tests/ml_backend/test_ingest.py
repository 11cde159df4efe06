import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from ml_backend.brush_rle import encode
from ml_backend.errors import LabelStudioError, TaskImageError
from ml_backend.inbox import Inbox, MessageRow
from ml_backend.ingest import ATTEMPTS, Ingest
from ml_backend.projects import ProjectNews, Projects, project_key
from training.database import Database, now
from training.errors import FileStoreError
from training.sample_rows import AnnotationRow, SampleRow
from training.samples import SampleStore
from training.stored_files import StoredFiles

FIXTURES = Path(__file__).parent / "fixtures"
PROJECT = "2.1795327560"
CONFIG = """<View><Image name="image" value="$image"/>
  <KeyPointLabels name="kp" toName="image"><Label value="Object"/></KeyPointLabels>
  <BrushLabels name="brush" toName="image"><Label value="Object"/></BrushLabels></View>"""
SIZE = (321, 481)


class Loop:
    """The parts of the learning loop that deal with messages, on a fresh folder."""

    def __init__(self, folder):
        self.database = Database(f"sqlite:///{folder}/state.db")
        self.inbox = Inbox(self.database)
        self.requests = []
        self.fetched = []
        self.trouble = None
        self.ingest = Ingest(
            inbox=self.inbox,
            projects=Projects(self.database),
            samples=SampleStore(self.database, StoredFiles(f"{folder}/files", folder / "down")),
            fetch_image=self.fetch,
            request_training=lambda project, reason: self.requests.append((project, reason)),
        )

    def fetch(self, project, task, config):
        self.fetched.append(task["id"])
        if self.trouble is not None:
            raise self.trouble
        seed = int(task["id"])
        return np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)

    def deliver(self, body):
        key = project_key(body.get("project"))
        self.inbox.put(body["action"], key, json.dumps(body).encode())
        self.ingest.drain()

    def rows(self, table):
        with self.database.read() as session:
            return session.scalars(select(table)).all()

    def annotations(self):
        return {row.annotation: row for row in self.rows(AnnotationRow)}

    def areas(self):
        return sorted(row.area for row in self.rows(SampleRow))

    def hurry(self):
        """Make every waiting message due."""
        with self.database.write() as session:
            for row in session.scalars(select(MessageRow)):
                row.due_at = now()


@pytest.fixture
def loop(tmp_path):
    loop = Loop(tmp_path)
    yield loop
    loop.database.close()


def fixture(action):
    return json.loads((FIXTURES / f"webhook_{action}.json").read_text())["body"]


def brush(left, width=10):
    mask = np.zeros(SIZE, dtype=bool)
    mask[20:30, left : left + width] = True
    return {
        "id": f"r{left}", "type": "brushlabels", "from_name": "brush", "to_name": "image",
        "original_width": SIZE[1], "original_height": SIZE[0],
        "value": {"format": "rle", "rle": encode(mask), "brushlabels": ["Object"]},
    }  # fmt: skip


def saved(*regions, action="ANNOTATION_CREATED", annotation=4, second=0, **fields):
    """A message as Label Studio sends it, with these regions."""
    body = fixture("ANNOTATION_CREATED")
    body["action"] = action
    body["annotation"] |= {
        "id": annotation,
        "result": list(regions),
        "updated_at": f"2026-11-22T06:15:{second:02}.256890Z",
        **fields,
    }
    return body


def test_a_whole_recorded_message_becomes_a_sample(loop):
    loop.deliver(fixture("ANNOTATION_CREATED_full"))
    (sample,) = loop.rows(SampleRow)
    assert (sample.project, sample.annotation, sample.label) == (PROJECT, 4, "Object")
    assert sample.area > 0
    assert loop.annotations()[4].status == "accepted"
    assert loop.ingest.projects.find(PROJECT).title == "Probe2"


def test_an_update_replaces(loop):
    loop.deliver(saved(brush(10), brush(50)))
    loop.deliver(saved(brush(50, 20), action="ANNOTATION_UPDATED", second=5))
    assert loop.areas() == [200]


@pytest.mark.parametrize("key", ["annotations", "annotation"])
def test_deleted_in_the_plural_and_in_the_singular(loop, key):
    loop.deliver(saved(brush(10)))
    body = fixture("ANNOTATIONS_DELETED")
    deleted = [{"id": 4}] if key == "annotations" else {"id": 4}
    action = "ANNOTATIONS_DELETED" if key == "annotations" else "ANNOTATION_DELETED"
    loop.deliver({"action": action, key: deleted, "project": saved()["project"]})
    assert body["annotations"] == [{"id": 5}]  # as recorded: ids and nothing else
    assert loop.areas() == []
    assert loop.annotations()[4].status == "deleted"


def test_a_deleted_task_takes_its_annotations_along(loop):
    loop.deliver(saved(brush(10)))
    loop.deliver({"action": "TASKS_DELETED", "tasks": [{"id": 8}], "project": saved()["project"]})
    assert loop.areas() == []


def test_several_annotations_in_one_message(loop):
    first, second = saved(brush(10)), saved(brush(50), annotation=5)
    loop.deliver(
        {
            "action": "ANNOTATIONS_CREATED",
            "annotation": [first["annotation"], second["annotation"]],
            "task": [first["task"]],
            "project": first["project"],
        }
    )
    assert sorted(loop.annotations()) == [4, 5]


def test_one_of_several_that_cannot_be_used_holds_up_no_other_and_is_settled_by_a_reconcile(loop):
    first, second, third = (saved(brush(10 * n), annotation=n) for n in (3, 5, 7))
    first["task"]["id"] = first["annotation"]["task"] = 6
    fetch = loop.fetch

    def fetch_some(project, task, config):
        if task["id"] == 6:
            raise TaskImageError("task 6: image is 404")
        return fetch(project, task, config)

    loop.ingest = replace(loop.ingest, fetch_image=fetch_some)
    loop.deliver(
        {
            "action": "ANNOTATIONS_CREATED",
            "annotation": [message["annotation"] for message in (first, second, third)],
            "task": [first["task"], second["task"]],
            "project": first["project"],
        }
    )
    assert [loop.annotations()[n].status for n in (3, 5, 7)] == ["unreadable", *["accepted"] * 2]
    for _ in range(ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    assert loop.inbox.backlog(PROJECT).failed == 1
    loop.inbox.settle(PROJECT, now())
    assert loop.inbox.backlog(PROJECT).failed == 0
    assert {row.body for row in loop.rows(MessageRow)} == {b""}


def test_a_skipped_task_has_no_samples_and_fetches_nothing(loop):
    loop.deliver(fixture("ANNOTATION_CREATED_skip"))
    assert loop.annotations()[9].status == "skipped"
    assert loop.fetched == []


def test_an_annotation_without_its_mask_is_reported(loop):
    loop.deliver(fixture("ANNOTATION_CREATED_pending_suggestion"))
    row = loop.annotations()[11]
    assert (row.status, row.labels_without_mask, row.task) == ("empty", ["Object"], 9)


def test_the_start_button_asks_for_training(loop):
    loop.deliver(fixture("START_TRAINING"))
    assert loop.requests == [(PROJECT, "Start training in Label Studio")]


def test_a_project_that_changes_its_configuration_is_read_with_the_new_one(loop):
    project = saved()["project"]
    renamed = project | {"label_config": project["label_config"].replace('"image"', '"photo"')}
    loop.deliver({"action": "PROJECT_UPDATED", "project": renamed})
    assert 'name="photo"' in loop.ingest.projects.find(PROJECT).label_config


def test_masks_of_a_project_without_keypoints_are_taken(loop):
    body = saved(brush(10))
    without = re.sub(r"<KeyPointLabels.*?</KeyPointLabels>", "", CONFIG, flags=re.DOTALL)
    assert "KeyPoint" not in without
    loop.deliver(body | {"project": body["project"] | {"label_config": without}})
    assert loop.areas() == [100]


def test_a_message_that_is_no_news_fetches_nothing(loop):
    for second in (5, 5, 3):
        loop.deliver(saved(brush(10), second=second))
    assert loop.fetched == [8]


def test_while_label_studio_is_away_messages_wait_and_then_arrive(loop):
    loop.trouble = LabelStudioError("Label Studio cannot be reached at http://localhost:8080")
    loop.deliver(saved(brush(10)))
    for _ in range(2 * ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    backlog = loop.inbox.backlog(PROJECT)
    assert (backlog.waiting, backlog.failed) == (1, 0)
    assert "cannot be reached" in backlog.problem
    assert loop.annotations() == {}
    loop.trouble = None
    loop.hurry()
    loop.ingest.drain()
    assert loop.areas() == [100]
    assert loop.inbox.backlog().waiting == 0


def test_an_image_that_cannot_be_used_is_tried_for_a_while_and_reported(loop):
    loop.trouble = TaskImageError("task 8: image is 404")
    loop.deliver(saved(brush(10)))
    assert loop.annotations()[4].status == "unreadable"
    for _ in range(ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    assert loop.inbox.backlog().failed == 1
    assert loop.annotations()[4].notes == ["task 8: image is 404"]


def test_an_image_of_another_size_than_its_masks_is_reported(loop):
    region = brush(10)
    other = np.zeros((10, 10), dtype=bool)
    other[2:5, 2:5] = True
    region |= {"original_width": 10, "original_height": 10}
    region["value"] = region["value"] | {"rle": encode(other)}
    loop.deliver(saved(region))
    assert "drawn on 10x10 pixels" in loop.annotations()[4].notes[0]
    assert loop.areas() == []


@pytest.mark.parametrize(
    "broken",
    [
        {"action": "ANNOTATION_CREATED", "project": {"id": 2}},
        {"action": "ANNOTATION_CREATED", "annotation": {"id": 4}, "project": {"id": 2}},
        {"action": "TASKS_DELETED", "tasks": "all", "project": {"id": 2}},
    ],
)
def test_a_message_nobody_foresaw_holds_up_nothing_and_is_not_lost(loop, broken):
    loop.deliver(broken)
    loop.deliver(saved(brush(10)))
    assert loop.areas() == [100]
    for _ in range(ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    (failed,) = [row for row in loop.rows(MessageRow) if row.state == "failed"]
    assert json.loads(failed.body) == broken


def test_a_message_that_kills_the_worker_is_given_up_and_holds_up_no_other(loop):
    loop.trouble = SystemExit("killed by the kernel, for instance: out of memory")
    with pytest.raises(SystemExit):
        loop.deliver(saved(brush(10)))
    loop.trouble = None
    loop.deliver(saved(brush(12, width=12), annotation=5))
    assert loop.areas() == [120]
    loop.trouble = SystemExit("again")
    for _ in range(ATTEMPTS - 1):
        loop.hurry()
        with pytest.raises(SystemExit):
            loop.ingest.drain()
    loop.hurry()
    loop.ingest.drain()
    backlog = loop.inbox.backlog()
    assert (backlog.waiting, backlog.failed) == (0, 1)
    assert "the worker died" in backlog.problem


def test_a_label_studio_that_is_away_is_asked_once_and_holds_up_no_other_project(loop):
    loop.trouble = LabelStudioError("Label Studio cannot be reached at http://localhost:8080")
    for annotation in (4, 5, 6):
        loop.inbox.put(
            "ANNOTATION_CREATED",
            PROJECT,
            json.dumps(saved(brush(10), annotation=annotation)).encode(),
        )
    loop.inbox.put("START_TRAINING", "9.1", json.dumps({"project": {"id": 9}}).encode())
    loop.ingest.drain()
    assert len(loop.fetched) == 1
    assert [project for project, _ in loop.requests] == ["9.1"]
    loop.trouble = None
    loop.ingest.drain()
    assert loop.areas() == [100, 100]


def test_messages_wait_while_the_stored_files_cannot_be_reached(loop):
    loop.trouble = FileStoreError("the bucket does not answer")
    loop.deliver(saved(brush(10)))
    for _ in range(2 * ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    assert (loop.inbox.backlog().waiting, loop.annotations()) == (1, {})


def test_messages_put_off_while_the_clock_was_ahead_are_due(loop):
    loop.deliver(saved(brush(10)))
    loop.inbox.put(
        "ANNOTATION_CREATED", PROJECT, json.dumps(saved(brush(12, width=12), annotation=5)).encode()
    )
    with loop.database.write() as session:
        for row in session.scalars(select(MessageRow)):
            row.due_at = now() + timedelta(days=400)
    loop.ingest.drain()
    assert loop.areas() == [100, 120]


def test_a_message_without_a_project_is_ignored(loop):
    loop.deliver({"action": "PROJECT_CREATED"})
    (row,) = loop.rows(MessageRow)
    assert (row.state, row.note) == ("done", "ignored: it names no project")


def test_a_message_that_is_done_keeps_no_token(loop):
    loop.deliver(saved(brush(10)))
    (row,) = loop.rows(MessageRow)
    assert (row.state, row.body) == ("done", b"")


def test_a_key_tells_projects_of_two_installations_apart(loop):
    old, new = "2.1700000000", "2.1795327560"
    for key in (old, new):
        loop.ingest.projects.remember(key, ProjectNews(title=key))
    assert loop.ingest.projects.key_of("2") == new
    assert loop.ingest.projects.key_of(old) == old
    assert project_key(saved()["project"]) == PROJECT
    assert project_key(PROJECT) == PROJECT
    assert project_key({"id": 3}) == "3"
    assert project_key(None) == project_key("nonsense") == ""
    assert project_key("2.²") == project_key("2.5\n") == project_key("2.-5") == ""
    loop.ingest.projects.remember("2.²", ProjectNews("of an earlier version"))
    assert loop.ingest.projects.key_of("2") == new
    assert project_key({"id": True}) == project_key({"id": -3}) == project_key("True") == ""


def test_a_project_forgets_nothing_it_is_not_told(loop):
    projects = loop.ingest.projects
    projects.remember(PROJECT, ProjectNews(title="Nuclei", hostname="http://ls"))
    projects.remember(PROJECT, replace(ProjectNews(), label_config=CONFIG))
    row = projects.find(PROJECT)
    assert (row.title, row.hostname, row.label_config) == ("Nuclei", "http://ls", CONFIG)
