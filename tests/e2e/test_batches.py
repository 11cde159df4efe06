"""What the Data Manager's *Retrieve predictions* leaves behind in a real Label Studio."""

import pytest
from PIL import Image

from ml_backend.demo import project as demo
from tests.e2e.conftest import IMAGES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def retrieve_predictions(api, project):
    """Ask for all tasks; return how many regions each stored prediction has."""
    action = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}"
    api.post(action, {"selectedItems": {"all": True, "excluded": []}})
    return {
        task: [len(one["result"]) for one in api.get(f"/api/tasks/{task}/")["predictions"]]
        for task in demo.task_ids(api, project)
    }


def save_click(api, task, image):
    with Image.open(image) as photo:
        width, height = photo.size
    keypoint = {
        "id": "kp1",
        "type": "keypointlabels",
        "from_name": "click",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "is_positive": True,
        "value": {"x": 50, "y": 50, "width": 0.3, "keypointlabels": ["Object"]},
    }
    api.post(f"/api/tasks/{task}/annotations/", {"result": [keypoint]})


def test_a_task_without_keypoints_is_asked_for_again_when_it_has_some(
    backend, new_project, label_studio
):
    api, images = label_studio.api, [IMAGES / "cat.jpg", IMAGES / "coffee.jpg"]
    project = new_project(backend, *images)
    assert list(retrieve_predictions(api, project).values()) == [[], []]
    first, second = demo.task_ids(api, project)
    save_click(api, first, images[0])
    assert retrieve_predictions(api, project) == {first: [1], second: []}


def test_more_than_fits_into_one_body_is_asked_for_task_by_task(
    start_backend, new_project, label_studio
):
    """Each of these tasks has half a megabyte, and the backend takes one."""
    api, images = label_studio.api, [IMAGES / name for name in ("cat.jpg", "coffee.jpg")]
    backend = start_backend(ICMFORMER_MAX_BODY_MB="1")
    project = new_project(backend, *images, title="large bodies")
    for task, image in zip(demo.task_ids(api, project), images, strict=True):
        save_click(api, task, image)
        large = {"type": "textarea", "from_name": "x", "to_name": "image"}
        text = {"result": [{**large, "id": "t", "value": {"text": ["x" * 700_000]}}]}
        api.post(f"/api/tasks/{task}/annotations/", text)
    assert list(retrieve_predictions(api, project).values()) == [[1], [1]]
