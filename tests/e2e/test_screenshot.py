"""The picture of the README: `make screenshot` takes it again with the network that ships."""

import io

import pytest
from PIL import Image

from ml_backend.demo import project as demo
from tests.e2e.conftest import ARTEFACTS, IMAGES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WIDTH = 1000
MOST_BYTES = 200_000


def test_picture_for_the_readme(page, start_backend, new_project, label_studio):
    backend = start_backend(ICMFORMER_CHECKPOINT="")
    images = [IMAGES / name for name in ("astronaut.jpg", "coffee.jpg", "cat.jpg")]
    project = new_project(backend, *images, title="People and other objects")
    page.open(project, demo.task_ids(label_studio.api, project)[0])
    page.turn_on_auto_annotation()
    for x, y in ((0.3, 0.6), (0.42, 0.15), (0.53, 0.42)):  # the suit, the hair, the collar
        page.choose("Other")  # blue is seen better on orange
        page.click(x, y)
    page.wait_for_suggestion()
    page.page.wait_for_timeout(1000)

    picture = Image.open(io.BytesIO(page.page.screenshot())).convert("RGB")
    height = picture.height * WIDTH // picture.width
    small = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    path = ARTEFACTS / "label-studio.png"
    small.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size <= MOST_BYTES
