"""What an annotator does, in a browser, from the first click to the saved annotation."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from ml_backend.demo import project as demo
from ml_backend.label_studio.accepted_objects import accepted_regions, painted_regions
from tests.e2e.conftest import ARTEFACTS, IMAGES
from tests.e2e.expected_masks import clicks_of, mask_of, saved_masks
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

COFFEE = IMAGES / "coffee.jpg"


@pytest.fixture
def coffee() -> np.ndarray:
    return np.array(Image.open(COFFEE))


@pytest.fixture
def task(page, backend, new_project, label_studio) -> int:
    """A task with the cup of coffee, open in the browser and ready for clicks."""
    project = new_project(backend, COFFEE)
    (task,) = demo.task_ids(label_studio.api, project)
    page.open(project, task)
    page.turn_on_auto_annotation()
    return task


def pixels(png: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def farthest_from(mask: np.ndarray) -> tuple[float, float]:
    """The place outside the mask with most room around it, as fractions of width and height."""
    room = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    row, column = np.unravel_index(room.argmax(), room.shape)
    return (column + 0.5) / mask.shape[1], (row + 0.5) / mask.shape[0]


def test_from_the_first_click_to_the_saved_annotation(page, task, label_studio, predictor, coffee):
    page.choose("Object")
    first = page.click(0.45, 0.35)
    page.wait_for_suggestion()
    page.keep_picture(ARTEFACTS / "first-click.png")
    expected = predictor.segment(coffee, clicks_of(first.asked))
    np.testing.assert_array_equal(mask_of(first.regions[0]), expected.mask)

    page.choose("Object")
    page.click(0.65, 0.7)
    page.choose("Object")
    third = page.click(0.2, 0.5, negative=True)
    assert [click.positive for click in clicks_of(third.asked)] == [True, True, False]
    assert [region["id"] for region in third.regions] == [first.regions[0]["id"]]
    page.keep_picture(ARTEFACTS / "third-click.png")
    page.accept()

    page.choose("Other")
    # a click on an accepted mask selects it
    other = page.click(*farthest_from(mask_of(third.regions[0])))
    assert other.regions[0]["id"] != first.regions[0]["id"]
    page.accept()
    page.keep_picture(ARTEFACTS / "two-labels.png")
    page.submit()

    saved = saved_masks(label_studio.api, task)
    assert set(saved) == {"Object", "Other"}
    for label, answer in (("Object", third), ("Other", other)):
        expected = predictor.segment(coffee, clicks_of(answer.asked)).mask
        assert 100 < expected.sum() < 0.99 * expected.size
        np.testing.assert_array_equal(saved[label], expected)


def test_the_mask_is_drawn_where_it_is(page, task):
    before = pixels(page.picture())
    page.choose("Object")
    page.click(0.45, 0.35)
    page.wait_for_suggestion()
    page.choose("Object")
    answer = page.click(0.65, 0.7)
    mask = Image.fromarray(mask_of(answer.regions[0]))

    def is_drawn():
        drawn = np.abs(pixels(page.picture()) - before).sum(axis=2) > 12
        expected = np.array(mask.resize(drawn.shape[::-1]))
        return (drawn & expected).sum() / (drawn | expected).sum() > 0.95

    wait_until(is_drawn, every=0.5)


def test_undo_then_click(page, task, label_studio, predictor, coffee):
    page.choose("Object")
    page.click(0.45, 0.35)
    page.choose("Object")
    page.click(0.65, 0.7)
    page.undo()
    page.choose("Object")
    answer = page.click(0.8, 0.2, negative=True)
    clicks = clicks_of(answer.asked)
    assert [click.positive for click in clicks] == [True, False]
    page.accept()
    page.submit()
    expected = predictor.segment(coffee, clicks).mask
    np.testing.assert_array_equal(saved_masks(label_studio.api, task)["Object"], expected)


def test_backend_restarts_between_two_clicks(
    page, start_backend, new_project, label_studio, predictor, coffee
):
    """It needs its own token for that: the one that the connection brings is not kept on disk."""
    backend = start_backend(
        LABEL_STUDIO_URL=label_studio.url, LABEL_STUDIO_API_KEY=label_studio.login.token
    )
    project = new_project(backend, COFFEE)
    (task,) = demo.task_ids(label_studio.api, project)
    page.open(project, task)
    page.turn_on_auto_annotation()
    page.choose("Object")
    page.click(0.45, 0.35)
    backend.stop()
    backend.start()
    page.choose("Object")
    answer = page.click(0.65, 0.7, negative=True)
    page.accept()
    page.submit()
    expected = predictor.segment(coffee, clicks_of(answer.asked)).mask
    np.testing.assert_array_equal(saved_masks(label_studio.api, task)["Object"], expected)


def test_with_labels_kept_chosen(page, backend, new_project, label_studio, coffee):
    """A label that is still chosen when a mask is accepted is saved with it, as a keypoint."""
    project = new_project(backend, COFFEE)
    (task,) = demo.task_ids(label_studio.api, project)
    page.keep_labels_chosen()
    page.open(project, task)
    page.turn_on_auto_annotation()
    page.choose("Object")
    page.click(0.45, 0.35)
    second = page.click(0.65, 0.7)
    assert len(second.asked) == 2
    page.wait_for_suggestion()
    page.let_go()
    page.accept()
    page.choose("Other")
    other = page.click(*farthest_from(mask_of(second.regions[0])))
    page.wait_for_suggestion()
    page.accept()
    page.submit()

    (annotation,) = label_studio.api.get(f"/api/tasks/{task}/")["annotations"]
    saved = [(item["type"], "rle" in item["value"]) for item in annotation["result"]]
    assert sorted(saved) == [("brushlabels", True)] * 2 + [("keypointlabels", True)]
    painted = painted_regions(annotation["result"], "image", {"click"})
    accepted = accepted_regions(painted, coffee.shape[:2])
    masks = [mask_of(answer.regions[0]) for answer in (second, other)]
    assert [found.mask.area for found in accepted.objects] == [mask.sum() for mask in masks]
    assert accepted.labels_without_mask == ()


def test_two_quick_clicks(page, task, label_studio, predictor, coffee):
    page.choose("Object")
    with page.answers(2) as answers:
        page.press(0.45, 0.35)
        page.choose("Object")
        page.press(0.65, 0.7)
    last = max(answers, key=lambda answer: len(answer.asked))
    assert len(last.asked) == 2
    page.wait_for_suggestion()
    page.accept()
    page.submit()
    expected = predictor.segment(coffee, clicks_of(last.asked)).mask
    np.testing.assert_array_equal(saved_masks(label_studio.api, task)["Object"], expected)
