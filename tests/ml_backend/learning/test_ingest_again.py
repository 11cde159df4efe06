"""Messages that wait, fail, come again, or overtake each other."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ml_backend.errors import ImageHostError, LabelStudioError, TaskImageError
from ml_backend.label_studio.project_keys import project_key
from ml_backend.learning import inbox as inbox_module
from ml_backend.learning.inbox import Inbox, MessageRow, PieceRow
from ml_backend.learning.ingest import ATTEMPTS, SILENT_IMAGES
from ml_backend.learning.newer_states import NewerStates
from tests.ml_backend.message_loop import PROJECT, brush, fixture, saved
from training.errors import FileStoreError
from training.moments import now


def test_one_of_several_that_cannot_be_used_holds_up_no_other_and_is_settled_by_a_reconcile(loop):
    first, second, third = (saved(brush(10 * n), annotation=n) for n in (3, 5, 7))
    first["task"]["id"] = first["annotation"]["task"] = 6
    fetch = loop.fetch

    def fetch_some(project, task, *others):
        if task["id"] == 6:
            raise TaskImageError("task 6: image is 404")
        return fetch(project, task, *others)

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
    loop.ingest.settle(PROJECT, now())
    assert loop.inbox.backlog(PROJECT).failed == 0
    assert loop.rows(PieceRow) == []
    assert loop.requests == []


def test_a_request_to_train_that_was_given_up_is_heard_by_the_next_reconcile(loop):
    body = fixture("START_TRAINING")
    body["project"]["title"] = "\ud800"  # half a character, which no database takes
    key = project_key(body["project"])
    loop.put(body)
    for _ in range(ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    assert (loop.inbox.backlog(key).failed, loop.requests) == (1, [])
    problem = "UnicodeEncodeError; the worker's log says more"
    assert loop.inbox.backlog(key).failed_problem == problem
    loop.ingest.settle(PROJECT, now() - timedelta(hours=1))
    assert loop.requests == []
    for _ in range(2):
        loop.ingest.settle(key, now())
    assert loop.requests == [(key, "Start training in Label Studio")]
    assert loop.inbox.backlog(key).failed == 0


def test_a_message_that_is_no_news_fetches_nothing(loop):
    for second in (5, 5, 3):
        loop.deliver(saved(brush(10), second=second))
    assert loop.fetched == [8]


def test_a_state_is_not_taken_while_a_newer_one_waits(loop):
    for second in (1, 7, 4):
        loop.put(saved(brush(10, width=10 + second), second=second))
    loop.put(saved(brush(10), annotation=5))
    loop.ingest.drain()
    assert len(loop.fetched) == 2
    assert loop.areas() == [100, 170]
    assert {row.state for row in loop.rows(MessageRow)} == {"done"}


class SharedInbox(Inbox):
    """An inbox of which another worker takes each message between a look and the next step."""

    def next_due(self, *asked):
        message = super().next_due(*asked)
        if message is not None:
            assert Inbox(self._database).begin(message)
        return message


def test_of_two_workers_that_find_the_same_message_one_deals_with_it(loop):
    loop.put(fixture("START_TRAINING"))
    replace(loop.ingest, inbox=SharedInbox(loop.database)).drain()
    assert loop.requests == []
    (row,) = loop.rows(MessageRow)
    assert (row.state, row.attempts) == ("waiting", 1)
    loop.hurry()
    loop.ingest.drain()
    assert len(loop.requests) == 1


class WatchedInbox(Inbox):
    """An inbox that knows whose bodies were read to learn what is newer."""

    def __init__(self, database):
        super().__init__(database)
        self.read = []

    def annotations_after(self, message, project):
        for found, body in super().annotations_after(message, project):
            self.read.append(found)
            yield found, body


def test_while_images_cannot_be_fetched_no_body_is_read_twice_to_learn_what_is_newer(loop):
    watched = WatchedInbox(loop.database)
    loop.ingest = replace(loop.ingest, newer=NewerStates(watched))
    loop.trouble = LabelStudioError("Label Studio refuses the token")
    for number in range(1, 5):
        loop.deliver(saved(brush(number), annotation=number))
        loop.hurry()
        loop.ingest.drain()
    assert watched.read == [1, 2, 3, 4]
    loop.trouble = None
    loop.put(saved(annotation=2, second=5))
    loop.hurry()
    loop.ingest.drain()
    assert {number: row.status for number, row in loop.annotations().items()} == {
        1: "accepted", 2: "empty", 3: "accepted", 4: "accepted",
    }  # fmt: skip
    assert watched.read == [1, 2, 3, 4, 5]


def test_a_state_is_taken_where_the_newer_one_was_given_up(loop):
    newer = loop.inbox.put("ANNOTATION_UPDATED", PROJECT, json.dumps(saved(second=5)).encode())
    loop.put(saved(brush(10)))
    loop.inbox.fail(newer, "given up after 6 attempts")
    loop.ingest.drain()
    assert loop.areas() == [100]


def told(project):
    """Messages about two annotations, the older state of each first, and a deletion."""
    messages = [
        saved(brush(10)),
        saved(brush(10), brush(50), second=3),
        saved(brush(50), second=6, action="ANNOTATION_UPDATED"),
        saved(brush(90), annotation=5),
        saved(brush(90), annotation=5, second=9, was_cancelled=True),
        saved(brush(70), annotation=6),
    ]
    deletion = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 6}]}
    about = messages[0]["project"] | {"id": project}
    return [message | {"project": about} for message in [*messages, deletion]]


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    order=st.permutations(range(7)),
    again=st.lists(st.integers(0, 6), max_size=4),
    cut=st.integers(0, 11),
    project=st.integers(10, 10**6),
)
def test_however_many_messages_wait_in_any_order_the_store_ends_the_same(
    loop, order, again, cut, project
):
    delivered = [*order, *again]
    for some in (delivered[:cut], delivered[cut:]):
        for position in some:
            loop.put(told(project)[position])
        loop.ingest.drain()
    key = project_key(told(project)[0]["project"])
    states = {n: row.status for n, row in loop.annotations(key).items()}
    assert states == {4: "accepted", 5: "skipped", 6: "deleted"}
    assert loop.areas(key) == [100]


def test_while_label_studio_is_away_messages_wait_and_then_arrive(loop):
    loop.trouble = LabelStudioError("Label Studio cannot be reached at http://localhost:8080")
    loop.deliver(saved(brush(10)))
    for _ in range(2 * ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    backlog = loop.inbox.backlog(PROJECT)
    assert (backlog.waiting, backlog.failed) == (1, 0)
    assert "cannot be reached" in backlog.waiting_problem
    assert loop.annotations() == {}
    loop.trouble = None
    loop.hurry()
    loop.ingest.drain()
    assert loop.areas() == [100]
    assert loop.inbox.backlog(PROJECT).waiting == 0


@pytest.mark.parametrize("trouble", [LabelStudioError("away"), TaskImageError("image is 404")])
def test_a_message_that_waited_renames_no_project_back(loop, trouble):
    loop.trouble = trouble
    loop.deliver(saved(brush(10)))
    renamed = saved()["project"] | {"title": "Renamed"}
    renamed["label_config"] = renamed["label_config"].replace("Object", "Cell")
    loop.deliver({"action": "PROJECT_UPDATED", "project": renamed})
    loop.trouble = None
    loop.hurry()
    loop.ingest.drain()
    assert loop.areas() == [100]
    row = loop.ingest.projects.find(PROJECT)
    assert (row.title, row.label_config) == ("Renamed", renamed["label_config"])


def test_a_message_that_killed_its_worker_still_says_what_nothing_else_did(loop):
    loop.put(saved(brush(10)))
    loop.inbox.begin(loop.inbox.next_due(now()))
    loop.hurry()
    loop.ingest.drain()
    row, told = loop.ingest.projects.find(PROJECT), saved()["project"]
    assert (row.title, row.label_config) == (told["title"], told["label_config"])


def test_an_image_that_cannot_be_used_is_tried_for_a_while_and_reported(loop):
    loop.trouble = TaskImageError("task 8: image is 404")
    loop.deliver(saved(brush(10)))
    assert loop.annotations()[4].status == "unreadable"
    for _ in range(ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    assert loop.inbox.backlog(PROJECT).failed == 1
    assert loop.annotations()[4].notes == ["task 8: image is 404"]


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
    (kept,) = loop.rows(PieceRow)
    assert (kept.message, json.loads(kept.content)) == (failed.id, broken)


def test_an_annotation_that_takes_too_much_memory_counts_as_unreadable(loop):
    loop.trouble = MemoryError()
    loop.deliver(saved(brush(10)))
    assert loop.annotations()[4].status == "unreadable"
    assert loop.annotations()[4].notes[0].startswith("annotation 4 cannot be taken: MemoryError; ")
    loop.trouble = None
    loop.hurry()
    loop.ingest.drain()
    assert loop.areas() == [100]


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
    backlog = loop.inbox.backlog(PROJECT)
    assert (backlog.waiting, backlog.failed) == (0, 1)
    problem = "given up after 6 attempts, in the last of which the worker died"
    assert backlog.failed_problem == problem


def test_a_worker_that_died_once_hides_nothing_of_what_went_wrong_before(loop):
    loop.put(saved(brush(10)))
    loop.trouble = ImageHostError("task 8: its server does not give it: no answer")
    for _ in range(ATTEMPTS - 1):
        loop.hurry()
        loop.ingest.drain()
    loop.trouble = SystemExit("killed")
    loop.hurry()
    with pytest.raises(SystemExit):
        loop.ingest.drain()
    loop.hurry()
    loop.ingest.drain()
    problem = loop.inbox.backlog(PROJECT).failed_problem
    assert "in the last of which the worker died; in an earlier one: task 8" in problem


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


def test_a_server_of_images_that_is_silent_is_asked_once_and_holds_up_no_other_project(loop):
    loop.trouble = ImageHostError("task 8: its server does not give it: no answer")
    for annotation in (4, 5, 6):
        loop.put(saved(brush(10), annotation=annotation))
    loop.inbox.put("START_TRAINING", "9.1", json.dumps({"project": {"id": 9}}).encode())
    loop.ingest.drain()
    assert len(loop.fetched) == 1
    assert [project for project, _ in loop.requests] == ["9.1"]
    assert loop.annotations()[4].status == "unreadable"
    loop.trouble = None
    loop.ingest.drain()
    loop.hurry()
    loop.ingest.drain()
    assert loop.areas() == [100, 100, 100]


def test_a_server_of_images_that_stays_silent_uses_up_the_attempts(loop):
    loop.trouble = ImageHostError("task 8: it takes longer than 60 seconds")
    loop.deliver(saved(brush(10)))
    for _ in range(ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    assert (loop.inbox.backlog(PROJECT).failed, len(loop.fetched)) == (1, ATTEMPTS)


def test_many_annotations_in_one_message_do_not_each_wait_for_a_silent_server(loop):
    messages = [saved(brush(10), annotation=number, task=number) for number in range(1, 9)]
    together = messages[0] | {
        "action": "ANNOTATIONS_CREATED",
        "annotation": [message["annotation"] for message in messages],
        "task": [messages[0]["task"] | {"id": number} for number in range(1, 9)],
    }
    loop.trouble = ImageHostError("no answer")
    loop.deliver(together)
    assert len(loop.fetched) == SILENT_IMAGES
    loop.trouble = None
    loop.hurry()
    loop.ingest.drain()
    assert loop.areas() == [100] * 8


def test_messages_wait_while_the_stored_files_cannot_be_reached(loop):
    loop.trouble = FileStoreError("the bucket does not answer")
    loop.deliver(saved(brush(10)))
    for _ in range(2 * ATTEMPTS):
        loop.hurry()
        loop.ingest.drain()
    assert (loop.inbox.backlog(PROJECT).waiting, loop.annotations()) == (1, {})


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


def test_what_is_put_off_in_a_round_that_takes_long_waits_for_the_next(loop, monkeypatch):
    for annotation in (4, 5):
        loop.put(saved(brush(10), annotation=annotation))

    def fetch_slowly(*asked):
        later = now() + timedelta(minutes=21 * (1 + len(loop.fetched)))
        monkeypatch.setattr(inbox_module, "now", lambda: later)
        return loop.fetch(*asked)

    loop.trouble = TaskImageError("task 8: image is 404")
    loop.ingest = replace(loop.ingest, fetch_image=fetch_slowly)
    loop.ingest.drain()
    assert len(loop.fetched) == 2
    assert (loop.inbox.backlog(PROJECT).waiting, loop.inbox.backlog(PROJECT).failed) == (2, 0)
