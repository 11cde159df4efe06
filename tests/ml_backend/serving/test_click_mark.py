"""A job waits after a click, for a second and no longer."""

import os

import pytest

from ml_backend.serving.click_mark import ClickMark
from tests.ml_backend.label_studio_requests import batch, clicks, keypoint, saved_task


def test_a_click_leaves_a_mark_for_jobs(client, settings):
    assert client.post("/predict", json=clicks(keypoint(50, 50, id="a"))).status_code == 200
    mark = settings.state_folder.last_click
    assert ClickMark(mark).seconds_to_wait(mark.stat().st_mtime) == 1


@pytest.mark.parametrize(
    ("body", "is_marked"),
    [
        pytest.param(clicks(keypoint(50, 50, id="a")), True, id="click"),
        pytest.param(batch(saved_task(keypoint(50, 50))), False, id="batch"),
    ],
)
def test_a_click_that_waited_for_its_image_is_marked_again(app, client, body, is_marked):
    images = app.extensions["icmformer"].images
    mark = app.extensions["icmformer"].settings.state_folder.last_click
    load = images.load

    def load_for_long(*arguments, **options):
        os.utime(mark, times=(0, 0))
        return load(*arguments, **options)

    images.load = load_for_long
    assert client.post("/predict", json=body).status_code == 200
    assert (mark.stat().st_mtime > 0) is is_marked


@pytest.mark.parametrize(
    ("age", "wait"),
    [(0, 1), (0.25, 0.75), (0.75, 0.25), (1, 0), (3600, 0), pytest.param(-1, 0, id="other clock")],
)
def test_a_job_waits_for_the_rest_of_a_second(tmp_path, age, wait):
    mark = ClickMark(tmp_path / "mark")
    mark.leave()
    os.utime(tmp_path / "mark", times=(1_800_000_000, 1_800_000_000))
    assert mark.seconds_to_wait(1_800_000_000 + age) == wait


def test_without_a_click_nobody_waits(tmp_path):
    assert ClickMark(tmp_path / "mark").seconds_to_wait(1_800_000_000) == 0


def test_where_no_mark_can_be_left_people_click_all_the_same(tmp_path):
    mark = ClickMark(tmp_path / "missing" / "mark")
    mark.leave()
    assert mark.seconds_to_wait(1_800_000_000) == 0
