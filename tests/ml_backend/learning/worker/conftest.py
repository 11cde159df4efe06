"""The worker on a fresh state, with a server that plays Label Studio."""

import contextlib
import threading

import numpy as np
import pytest
from PIL import Image

from ml_backend.learning.worker import Worker
from ml_backend.settings import Settings
from tests.ml_backend.learning.worker.disc_tasks import CREATED_AT, task
from tests.ml_backend.stand_in import LEGACY_TOKEN, StandInLabelStudio, serving
from tests.ml_backend.task_pictures import png
from tests.training.disc_project import disc

RECIPE = """
batch_size: 2
steps: 12
validate_every: 4
validation_objects: 2
validation_clicks: 1
optimization: {warmup_epochs: 0}
"""
RETAINED = (502, 503, 504)  # one of them judges


@pytest.fixture
def server():
    """Label Studio with 24 annotated tasks."""
    server = StandInLabelStudio(
        tasks=[task(number) for number in range(24)],
        ml_backends=[{"url": "http://backend.internal"}],
        webhooks=[{"url": "http://backend.internal/webhook", "send_for_all_actions": True}],
    )
    server.project |= {"created_at": CREATED_AT}
    server.files = {f"upload/1/0123abcd-{n}.png": png(disc(n)[0]) for n in range(24)}
    with contextlib.ExitStack() as stack:
        server.url = stack.enter_context(serving(server.app()))
        yield server


@pytest.fixture(scope="session")
def retention(tmp_path_factory):
    """Other discs, of which few judge: most of what a job does here is clicking."""
    folder = tmp_path_factory.mktemp("retention")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for seed in RETAINED:
        image, mask = disc(seed)
        Image.fromarray(image).save(folder / "images" / f"{seed}.png")
        Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{seed}.png")
    return folder


@pytest.fixture
def environment(tmp_path, checkpoint, server, retention):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    return {
        "ICMFORMER_MODEL_DIR": str(tmp_path / "state"),
        "ICMFORMER_CHECKPOINT": str(checkpoint),
        "ICMFORMER_DEVICE": "cpu",
        "ICMFORMER_FINE_TUNE_RECIPE": str(recipe),
        "ICMFORMER_FINE_TUNE_AFTER": "0",
        "ICMFORMER_RECONCILE_MINUTES": "0",
        "ICMFORMER_RETENTION_SET": str(retention),
        "ICMFORMER_GATE_MIN_OBJECTS": "1",
        "ICMFORMER_GATE_MIN_IMAGES": "1",
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": LEGACY_TOKEN,
    }


def settings_of(environment):
    return Settings(
        model_dir=environment["ICMFORMER_MODEL_DIR"],
        checkpoint=environment["ICMFORMER_CHECKPOINT"],
        device="cpu",
        fine_tune_recipe=environment["ICMFORMER_FINE_TUNE_RECIPE"],
        retention_set=environment["ICMFORMER_RETENTION_SET"],
        label_studio_url=environment["LABEL_STUDIO_URL"],
        label_studio_api_key=LEGACY_TOKEN,
        fine_tune_after=5,
        fine_tune_quiet_minutes=0,
    )


@pytest.fixture
def settings(environment):
    return settings_of(environment)


@pytest.fixture
def worker(learning):
    return Worker(learning, threading.Event())
