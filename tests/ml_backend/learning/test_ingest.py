"""What becomes of each kind of message."""

import re
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from ml_backend.label_studio.brush_rle import encode
from ml_backend.label_studio.project_keys import project_key
from ml_backend.learning import projects
from ml_backend.learning.inbox import MessageRow, PieceRow
from ml_backend.learning.projects import ProjectNews
from tests.ml_backend.label_studio_requests import recorded
from tests.ml_backend.message_loop import CONFIG, PROJECT, brush, fixture, saved
from training.errors import DatabaseError
from training.moments import now
from training.store.sample_rows import SampleRow


def test_a_whole_recorded_message_becomes_a_sample(loop):
    loop.deliver(fixture("ANNOTATION_CREATED_full"))
    (sample,) = loop.rows(SampleRow)
    assert (sample.project, sample.annotation, sample.label) == (PROJECT, 4, "Object")
    assert loop.areas()[0] > 0
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


@pytest.mark.parametrize(
    ("annotations", "is_asked"), [([0, 0], False), ([0, 2], True), ([None], True), ([], False)]
)
def test_tasks_that_were_imported_with_annotations_have_the_project_compared(
    loop, annotations, is_asked
):
    tasks = [{"id": n, "total_annotations": number} for n, number in enumerate(annotations)]
    for task in tasks:
        if task["total_annotations"] is None:  # another release may not say how many
            del task["total_annotations"]
    body = {"action": "TASKS_CREATED", "tasks": tasks, "project": saved()["project"]}
    for _ in range(2):  # an import takes several messages
        loop.deliver(body)
        assert loop.ingest.projects.find(PROJECT).is_reconcile_asked_for == is_asked
    assert {row.state for row in loop.rows(MessageRow)} == {"done"}


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


def test_a_skipped_task_has_no_samples_and_fetches_nothing(loop):
    loop.deliver(fixture("ANNOTATION_CREATED_skip"))
    assert loop.annotations()[9].status == "skipped"
    assert loop.fetched == []


def test_an_annotation_without_its_mask_is_reported(loop):
    loop.deliver(fixture("ANNOTATION_CREATED_pending_suggestion"))
    row = loop.annotations()[11]
    assert (row.status, row.labels_without_mask, row.task) == ("empty", ["Object"], 9)


def test_a_magic_rectangle_without_its_mask_is_reported(loop):
    drawn = recorded("predict_smart_rectangle")
    body = saved(*drawn["params"]["context"]["result"])
    body["project"] |= {"label_config": drawn["label_config"]}
    loop.deliver(body)
    row = loop.annotations()[4]
    assert (row.status, row.labels_without_mask) == ("empty", ["Object"])
    assert row.notes[0].startswith("saved with a rectangle but without the mask of Object")


def test_an_annotation_that_was_made_without_a_result_is_empty(loop):
    body = saved()
    body["annotation"]["result"] = None
    loop.deliver(body)
    project = loop.ingest.projects.find(PROJECT)
    loop.ingest.take(project, body["annotation"], body["task"], listed_at=now())
    assert loop.annotations()[4].status == "empty"
    assert loop.inbox.given_up(PROJECT, now()) == set()
    assert loop.fetched == []


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


def of_an_earlier_file():
    region = brush(10)
    other = np.zeros((10, 10), dtype=bool)
    other[2:5, 2:5] = True
    region |= {"id": "old", "original_width": 10, "original_height": 10}
    return region | {"value": region["value"] | {"rle": encode(other)}}


def test_a_region_of_an_earlier_file_spoils_no_other(loop):
    loop.deliver(saved(of_an_earlier_file(), brush(10), brush(50, 20)))
    assert loop.areas() == [100, 200]
    assert "'old' was painted on an image of another size" in loop.annotations()[4].notes[0]


def test_an_image_of_another_size_than_its_masks_is_reported(loop):
    loop.deliver(saved(of_an_earlier_file()))
    assert "drawn on 10x10 pixels" in loop.annotations()[4].notes[0]
    assert loop.areas() == []


def damaged(left):
    region = brush(left)
    return region | {"value": region["value"] | {"rle": region["value"]["rle"][:-5]}}


EMPTY = brush(10, width=0)


@pytest.mark.parametrize(
    ("regions", "status", "note"),
    [
        ([damaged(10), damaged(50)], "unreadable", "no mask can be read: region 'r10': the brush"),
        ([EMPTY, damaged(50)], "unreadable", "no mask can be read: region 'r50': the brush mask"),
        ([EMPTY, of_an_earlier_file()], "unreadable", "region 'old' was painted on an image of"),
        ([brush(10) | {"original_width": None}], "unreadable", "does not say how large"),
        ([EMPTY], "empty", "region 'r10' is empty"),
        ([damaged(10), brush(50)], "accepted", "region 'r10': the brush mask is cut short"),
    ],
)
def test_only_an_annotation_of_which_every_mask_can_be_read_counts_as_empty(
    loop, regions, status, note
):
    loop.deliver(saved(*regions))
    row = loop.annotations()[4]
    assert row.status == status
    assert note in row.notes[0]


def test_a_message_without_a_project_is_ignored(loop):
    loop.deliver({"action": "PROJECT_CREATED"})
    (row,) = loop.rows(MessageRow)
    assert (row.state, row.note) == ("done", "ignored: it names no project")


def test_a_message_that_is_done_keeps_no_token(loop):
    loop.deliver(saved(brush(10)))
    (row,) = loop.rows(MessageRow)
    assert (row.state, loop.rows(PieceRow)) == ("done", [])


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


def test_what_is_said_again_and_again_needs_no_database_for_a_minute(loop, monkeypatch):
    known, news = loop.ingest.projects, ProjectNews(title="Nuclei", hostname="http://ls")
    known.hear(PROJECT, news)
    assert known.find(PROJECT).title == "Nuclei"
    monkeypatch.setattr(loop.database, "read", Mock(side_effect=DatabaseError("away")))
    known.hear(PROJECT, news)
    with pytest.raises(DatabaseError):
        known.hear(PROJECT, replace(news, title="renamed"))
    monkeypatch.setattr(projects, "_HEARD_SECONDS", 0.0)
    with pytest.raises(DatabaseError):
        known.hear(PROJECT, news)
