"""A backend that has learned a little, for the tests of its pages."""

from datetime import UTC, datetime
from functools import partial

import pytest
import torch

from icmformer import build_model, save_checkpoint
from ml_backend.app import create_app
from ml_backend.learning.projects import ProjectNews
from ml_backend.serving import pointer_follower
from ml_backend.settings import Settings
from tests.ml_backend.web.pages.reading import look
from tests.training.disc_project import PROJECT, accept, job, options, quiet
from training.evaluation.click_by_click import evaluate
from training.fine_tuning import trial
from training.fine_tuning.improvement import improve
from training.store.live_pointer import Mover, roll_back
from training.store.samples import Annotation

FORGOTTEN = "saved with clicks but without the mask of Object"


@pytest.fixture(scope="module")
def followed_by_hand():
    """Let what serves follow what is live only when a test says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pointer_follower, "POLL_SECONDS", 3600.0)
        yield


@pytest.fixture(scope="module")
def state(tmp_path_factory, followed_by_hand):
    """A backend whose project has samples, a version that waits for a decision, and a job."""
    folder = tmp_path_factory.mktemp("state")
    torch.manual_seed(0)
    save_checkpoint(build_model("tiny"), folder / "starter.safetensors")
    settings = Settings(
        model_dir=folder / "model",
        checkpoint=folder / "starter.safetensors",
        label_studio_url="http://label-studio.internal:8080",
    )
    app = create_app(settings)
    learning = app.extensions["icmformer"].learning
    learning.projects.remember(PROJECT, ProjectNews("Discs", "<View/>", "http://ls:8080"))
    for number in range(24):
        accept(learning.samples, number)
    lost = datetime(2026, 1, 2, tzinfo=UTC)
    forgotten = {"labels_without_mask": ("Object",), "notes": (FORGOTTEN,)}
    learning.samples.replace(Annotation(PROJECT, 99, 77, lost, "empty", **forgotten))
    learning.samples.replace(
        Annotation(PROJECT, 98, 76, lost, "unreadable", notes=("task 76: image is 404",))
    )
    number = learning.jobs.request(PROJECT, "20 new samples")
    learning.jobs.claim("w")
    folder.joinpath("job-1").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        # Most of what a job does is clicking, and here it does not matter how well.
        patch.setattr(trial, "evaluate", partial(evaluate, max_clicks=3))
        outcome = improve(job(folder), learning.stores, options(), quiet)
    learning.jobs.finish(number, "w", outcome.result, outcome.sentence, outcome.version)
    log = learning.job_folders.make(learning.jobs.get(number)) / "log.txt"
    log.write_text("first line\nthe last line\n")
    return app


@pytest.fixture
def learning(state):
    return state.extensions["icmformer"].learning


@pytest.fixture
def pointer(state):
    return state.extensions["icmformer"].pointer


@pytest.fixture
def client(state, learning, pointer):
    yield state.test_client()
    while learning.stores.versions.live(PROJECT).own:
        learning.stores.versions.move(
            partial(roll_back, project=PROJECT, mover=Mover("test", "clean up"))
        )
    look(learning, pointer)
