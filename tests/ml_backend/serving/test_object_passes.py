"""What one object takes of the network: replayed, remembered, and freed from other objects."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from icmformer import STARTER, Click, Predictor, load_checkpoint
from ml_backend.app import create_app
from ml_backend.deadline import Deadline
from ml_backend.errors import DeadlineError
from ml_backend.label_studio.drawn_objects import DrawnObject
from ml_backend.metrics import Metrics
from ml_backend.serving.click_sessions import ClickSessions, ObjectKey
from ml_backend.serving.object_passes import ObjectPasses
from tests.ml_backend.label_studio_requests import batch, by_hand, mask_of, predict, saved_task

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
KEY = ObjectKey(project="2.17", task="9", image="abc", label="Object", version="v1")
OWN = Click(40.5, 30.5, True)


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return Predictor(load_checkpoint(checkpoint))


@pytest.fixture(scope="module")
def everywhere():
    """Points of other objects in a grid: more than a mask is freed from."""
    places = [(x, y) for x in range(4, 80, 8) for y in range(4, 60, 8)]
    return tuple(Click(x + 0.5, y + 0.5, True) for x, y in places)


def passes(predictor, *others, max_clicks=100, sessions=None, deadline=None, max_bytes=10**8):
    return ObjectPasses(
        DrawnObject("Object", (OWN,), None, "r", marked=(OWN, *others) if others else ()),
        IMAGE,
        KEY,
        predictor,
        max_clicks,
        deadline or Deadline(600),
        sessions or ClickSessions(max_bytes),
        Metrics(),
    )


def count(made):
    return made.metrics.clicks._value.get()


def same(one, other):
    return one.clicks == other.clicks and np.array_equal(one.probability, other.probability)


def test_a_mask_is_freed_from_the_nearest_point_that_it_holds(predictor, everywhere):
    alone = predictor.segment(IMAGE, [OWN])
    held = [point for point in everywhere if alone.mask[int(point.y), int(point.x)]]
    nearest = min(held, key=lambda point: np.hypot(point.x - OWN.x, point.y - OWN.y))
    made = passes(predictor, nearest)
    expected = predictor.segment(IMAGE, [OWN, Click(nearest.x, nearest.y, False)])
    assert same(made.segmentation(), expected)
    assert passes(predictor, *everywhere).segmentation().clicks[1] == expected.clicks[1]
    assert count(made) == 2


def test_points_that_the_mask_does_not_hold_change_nothing(predictor):
    alone = predictor.segment(IMAGE, [OWN])
    outside = [Click(x + 0.5, y + 0.5, True) for y, x in np.argwhere(~alone.mask)]
    assert outside
    made = passes(predictor, *outside)
    assert same(made.segmentation(), alone)
    assert count(made) == 1


@pytest.mark.parametrize(("limit", "clicks"), [(1, 1), (3, 3), (100, 5)])
def test_a_mask_is_freed_from_few_points_whatever_there_are(predictor, everywhere, limit, clicks):
    made = passes(predictor, *everywhere, max_clicks=limit)
    found = made.segmentation()
    assert len(found.clicks) == count(made) == clicks
    assert same(found, predictor.segment(IMAGE, found.clicks))


def test_an_object_that_was_clicked_is_left_as_it_is(predictor):
    assert same(passes(predictor).segmentation(), predictor.segment(IMAGE, [OWN]))


def test_what_was_freed_is_remembered(predictor, everywhere):
    made = passes(predictor, *everywhere)
    found = made.segmentation()
    again = passes(predictor, *everywhere, sessions=made.sessions)
    assert same(again.segmentation(), found)
    assert count(again) == 0


def test_a_memory_that_holds_nothing_costs_no_replays(predictor, everywhere):
    forgetful = passes(predictor, *everywhere, max_bytes=0)
    assert same(forgetful.segmentation(), passes(predictor, *everywhere).segmentation())
    assert count(forgetful) == 5


def test_points_leave_the_memory_to_what_is_being_clicked(predictor, everywhere):
    marked, clicked = passes(predictor, *everywhere), passes(predictor)
    for clicks in (marked.segmentation().clicks, [OWN]):
        assert marked.sessions.recall(KEY, clicks).features is None
    clicked.segmentation()
    assert clicked.sessions.recall(KEY, [OWN]).features is not None


def test_nobody_waits_for_a_pass_that_is_begun_too_late(checkpoint, everywhere):
    deadline = Deadline(600)

    class Slow(Predictor):
        def segment(self, *asked):
            deadline._until = 0.0
            return super().segment(*asked)

    slow = Slow(load_checkpoint(checkpoint))
    late = passes(slow, *everywhere, deadline=deadline)
    with pytest.raises(DeadlineError):
        late.segmentation()
    assert count(late) == 1
    later = passes(slow, *everywhere, sessions=late.sessions)
    assert len(later.segmentation().clicks) == 5
    assert count(later) == 4


def test_of_two_alike_objects_each_gets_a_mask_of_its_own(settings, label_studio):
    """As the starter answers; by its own point alone each mask takes both."""
    rows, columns = np.mgrid[:128, :192]
    disks = [(columns - x) ** 2 + (rows - 64) ** 2 <= 22**2 for x in (66, 126)]
    grey = np.where(disks[0] | disks[1], 200.0, 60.0)
    grey = cv2.GaussianBlur(grey + np.random.default_rng(0).normal(0, 6, grey.shape), (0, 0), 1)
    file = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).convert("RGB").save(file, "PNG")
    label_studio.files["upload/2/disks.png"] = file.getvalue()
    points = [by_hand(100 * (x + 0.5) / 192, 50.4, id=str(x)) for x in (66, 126)]
    both, one = saved_task(*points, task=1), saved_task(points[0], task=2)
    both["data"] = one["data"] = {"image": "/data/upload/2/disks.png"}
    client = create_app(settings.model_copy(update={"checkpoint": STARTER})).test_client()
    freed, alone = (
        [mask_of(found) for found in prediction["result"]]
        for prediction in predict(client, batch(both, one))
    )
    assert alone[0][disks[1]].mean() > 0.8
    for mask, disk in zip(freed, disks, strict=True):
        assert np.sum(mask & disk) / np.sum(mask | disk) > 0.8
