"""The model class under label-studio-ml's own server, release 1.0.9 from the package index."""

import functools
import json
import os
import subprocess
import sys
import textwrap
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLManager

from ml_backend import backend, model
from ml_backend.app import create_app
from ml_backend.learning.projects import ProjectNews
from ml_backend.model import ICMFormerModel
from tests.ml_backend.label_studio_requests import (
    clicks,
    keypoint,
    mask_of,
    predict,
    recorded,
    recorded_setup,
)
from tests.ml_backend.stand_in import LEGACY_TOKEN
from tests.waiting import PATIENCE
from training.moments import now
from training.store.live_pointer import Mover, promote
from training.store.model_versions import Candidate

FIRST, SECOND = keypoint(61.4, 54.7, id="a"), keypoint(31.1, 68.9, id="b")


@pytest.fixture
def their_client(monkeypatch, tmp_path, checkpoint, label_studio):
    """Their server, which makes the model itself: all it knows is the environment."""
    monkeypatch.setenv("ICMFORMER_CHECKPOINT", str(checkpoint))
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "state"))
    fresh = functools.cache(backend.backend_of_this_process.__wrapped__)
    monkeypatch.setattr(model, "backend_of_this_process", fresh)
    app = init_app(ICMFormerModel, model_dir=str(tmp_path / "jobs"))
    client = app.test_client()
    # Their server keeps the labelling configuration of /setup and ignores that of /predict.
    told = {"schema": clicks()["label_config"], "hostname": label_studio.url}
    body = {**recorded_setup(), **told, "access_token": LEGACY_TOKEN}
    assert client.post("/setup", json=body).status_code == 200
    return client


def test_clicks_get_the_same_masks_as_under_our_server(their_client, settings):
    ours = create_app(settings).test_client()
    for drawn in ([FIRST], [FIRST, SECOND]):
        assert predict(their_client, clicks(*drawn)) == predict(ours, clicks(*drawn))


def test_recorded_interactions(their_client):
    for name in ("click3_negative_alt", "smart_rectangle", "with_saved_keypoint"):
        (prediction,) = predict(their_client, recorded(f"predict_{name}"))
        (region,) = prediction["result"]
        assert mask_of(region).any()


def test_batch_has_one_entry_a_task(their_client):
    body = recorded("predict_batch_retrieve")
    results = predict(their_client, body)
    assert [prediction["result"] for prediction in results] == [[]] * len(body["tasks"])


def test_the_last_setup_counts_for_all_projects(their_client):
    body = clicks(FIRST)
    (before,) = predict(their_client, body)
    renamed = body["label_config"].replace('"Object"', '"Cell"')
    assert renamed != body["label_config"]
    told = {**recorded_setup(), "project": "7.1795327560", "schema": renamed}
    assert their_client.post("/setup", json=told).status_code == 200
    (after,) = predict(their_client, body)
    assert (len(before["result"]), after["result"]) == (1, [])


def test_clicks_fail_until_the_first_setup(their_client, monkeypatch):
    monkeypatch.setattr(LabelStudioMLManager, "_current_model", {})  # as after a restart
    assert their_client.post("/predict", json=clicks(FIRST)).status_code == 500


@pytest.mark.slow
def test_each_event_is_written_down_by_a_process_of_its_own(their_client, monkeypatch):
    started, start = [], BaseProcess.start
    monkeypatch.setattr(BaseProcess, "start", lambda self: started.append(self) or start(self))
    for annotation in (1, 2):
        event = {"action": "ANNOTATION_CREATED", "annotation": {"id": annotation}}
        project = {"id": 2, "created_at": "2026-11-22T06:06:00Z"}
        answer = their_client.post("/webhook", json={**event, "project": project})
        assert answer.status_code == 201
    for process in started:
        process.join(PATIENCE)
    inbox = model.backend_of_this_process().learning.inbox
    ended = [process.exitcode for process in started]
    assert (ended, inbox.backlog("2.1795327560").waiting) == ([0, 0], 2)


def test_health(their_client):
    assert their_client.get("/health").json["status"] == "UP"


@pytest.mark.parametrize("action", ["ANNOTATION_CREATED", "ANNOTATIONS_DELETED", "START_TRAINING"])
def test_events_reach_the_inbox_in_both_calling_conventions(settings, action):
    bound = ICMFormerModel(backend=backend.build_backend(settings))
    data = {"project": {"id": 2, "created_at": "2026-11-22T06:06:00Z"}}
    inbox, kept = bound.backend.learning.inbox, []
    for hand_over in (
        lambda: bound.process_event(action, data, "job 1", {"workdir": "/tmp"}),  # 1.0.9
        lambda: bound.fit(action, data),  # 2.x
    ):
        hand_over()
        message = inbox.next_due(now())
        kept.append((message.action, message.project, message.body))
        inbox.done(message.id)
    assert kept == [(action, "2.1795327560", json.dumps({**data, "action": action}).encode())] * 2


def test_2x_is_told_which_version_serves(settings):
    class AsIn2x(ICMFormerModel):
        project_id = "2"

        def set(self, key, value):
            self.kept = (key, value)

    bound = AsIn2x(backend=with_a_version_of_its_own(backend.build_backend(settings)))
    bound.setup()
    name, version = bound.kept
    assert (name, version[:3]) == ("model_version", "v2-")


def with_a_version_of_its_own(backend):
    """Make a version live for project 2, of which webhooks have told."""
    learning, mover = backend.learning, Mover("ann", "because")
    learning.projects.remember("2.1795327560", ProjectNews("Cells"))
    candidate = Candidate("job 1", backend.settings.checkpoint, project="2.1795327560")
    number = learning.stores.versions.publish(candidate)
    move = functools.partial(promote, project="2.1795327560", version=number, mover=mover)
    learning.stores.versions.move(move)
    backend.pointer.refresh()  # as each second
    return backend


def test_what_a_project_learned_serves_it_though_only_its_number_is_known(settings):
    bound = ICMFormerModel(backend=with_a_version_of_its_own(backend.build_backend(settings)))
    body = recorded("predict_batch_retrieve")
    body["tasks"].append({**body["tasks"][0], "project": 3})
    in_own, *_, elsewhere = (
        bound.predict([task], label_config=body["label_config"])[0]["model_version"]
        for task in body["tasks"]
    )
    assert (in_own[:3], elsewhere[:5]) == ("v2-", "tiny-")


@pytest.mark.slow
def test_their_server_serves_from_the_command_line_of_a_module(tmp_path, checkpoint):
    """As their users write it: a module that makes the application when it is imported."""
    module = tmp_path / "_wsgi.py"
    module.write_text(
        textwrap.dedent("""
            from label_studio_ml.api import init_app
            from ml_backend.model import ICMFormerModel

            app = init_app(ICMFormerModel, model_dir="jobs")
            print(app.test_client().get("/health").status_code)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(module)],
        env=environment(tmp_path, checkpoint),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert done.stdout.strip() == "200"


def environment(folder, checkpoint):
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "MODEL_DIR": str(folder),
        "ICMFORMER_CHECKPOINT": str(checkpoint),
    }
