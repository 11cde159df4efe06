"""The token of today, a personal one, where Label Studio refuses those of before."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import requests
from PIL import Image

from ml_backend.demo import project as demo
from tests.e2e.conftest import IMAGES, RunningLabelStudio
from tests.e2e.expected_masks import clicks_of, saved_masks
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

COFFEE = IMAGES / "coffee.jpg"


@contextmanager
def legacy_tokens_refused(label_studio: RunningLabelStudio, personal: str) -> Iterator[None]:
    """Switch legacy tokens off for the organisation, as they are in a fresh Label Studio."""

    def switch(on: bool) -> None:
        access = requests.post(
            f"{label_studio.url}/api/token/refresh", json={"refresh": personal}, timeout=PATIENCE
        ).json()["access"]
        requests.post(
            f"{label_studio.url}/api/jwt/settings",
            json={"legacy_api_tokens_enabled": on, "api_tokens_enabled": True},
            headers={"Authorization": f"Bearer {access}"},
            timeout=PATIENCE,
        ).raise_for_status()

    switch(False)
    try:
        yield
    finally:
        switch(True)


def test_personal_access_token(page, start_backend, new_project, label_studio, predictor):
    personal = label_studio.api.post("/api/token/")["token"]
    backend = start_backend(LABEL_STUDIO_URL=label_studio.url, LABEL_STUDIO_API_KEY=personal)
    project = new_project(backend, COFFEE)
    (task,) = demo.task_ids(label_studio.api, project)
    with legacy_tokens_refused(label_studio, personal):
        headers = {"Authorization": f"Token {label_studio.login.token}"}
        projects = f"{label_studio.url}/api/projects/"
        refused = requests.get(projects, headers=headers, timeout=PATIENCE)
        assert refused.status_code == 401
        page.open(project, task)
        page.turn_on_auto_annotation()
        page.choose("Object")
        answer = page.click(0.45, 0.35)
        page.accept()
        page.submit()
    expected = predictor.segment(np.array(Image.open(COFFEE)), clicks_of(answer.asked)).mask
    np.testing.assert_array_equal(saved_masks(label_studio.api, task)["Object"], expected)
