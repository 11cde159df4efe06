"""A job holds still after a click, for a second and no longer."""

import os
import time

import pytest

from ml_backend.click_mark import ClickMark
from tests.ml_backend.label_studio_requests import clicks, keypoint


@pytest.fixture
def slept(monkeypatch):
    """The seconds that were slept; no test waits for them."""
    slept = []
    monkeypatch.setattr("ml_backend.click_mark.time.sleep", slept.append)
    return slept


def test_a_click_makes_a_job_hold_still_for_the_rest_of_a_second(client, settings, slept):
    answer = client.post("/predict", json=clicks(keypoint(50, 50, id="a")))
    assert answer.status_code == 200
    mark = ClickMark(settings.model_dir)
    os.utime(settings.model_dir / "last-click", times=(time.time() - 0.25,) * 2)
    mark.hold_still()
    (seconds,) = slept
    assert 0 < seconds <= 0.75


@pytest.mark.parametrize("age", [1.01, 3600, -3600], ids=["a second ago", "an hour ago", "clock"])
def test_otherwise_the_job_goes_on(tmp_path, slept, age):
    mark = ClickMark(tmp_path)
    mark.hold_still()
    mark.leave()
    os.utime(tmp_path / "last-click", times=(time.time() - age,) * 2)
    mark.hold_still()
    assert slept == []


def test_where_no_mark_can_be_left_people_click_all_the_same(tmp_path, slept):
    mark = ClickMark(tmp_path / "missing")
    mark.leave()
    mark.hold_still()
    assert slept == []
