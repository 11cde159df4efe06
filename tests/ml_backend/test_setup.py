"""/setup checks all that can be checked, quickly, and fails with a sentence to act on."""

from functools import partial

import pytest

import icmformer
from icmformer import build_model, load_checkpoint
from icmformer.checkpoint import save_checkpoint
from ml_backend.app import create_app
from ml_backend.deadline import Deadline
from ml_backend.learning.assembly import open_learning
from ml_backend.serving import versions
from ml_backend.settings import Settings
from tests.ml_backend.label_studio_requests import clicks, keypoint, recorded_setup
from tests.ml_backend.stand_in import LEGACY_TOKEN
from tests.waiting import PATIENCE
from training.store.live_pointer import SITE, Mover, pin


def config_without(part, instead=""):
    schema = recorded_setup()["schema"]
    assert part in schema
    return {**recorded_setup(), "schema": schema.replace(part, instead)}


def refusal(client, body, status=422):
    answer = client.post("/setup", json=body)
    assert answer.status_code == status
    return answer.json["error"]


def test_recorded_connection_is_answered_with_the_version(client):
    answer = client.post("/setup", json=recorded_setup())
    assert answer.status_code == 200
    assert answer.json["model_version"].startswith("tiny-")


def test_it_is_idempotent_and_asks_label_studio_once(client, label_studio):
    for _ in range(5):
        assert client.post("/setup", json=recorded_setup()).status_code == 200
    assert label_studio.paths() == ["/api/projects/1/"]


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (config_without("BrushLabels", "EllipseLabels"), "BrushLabels"),
        (config_without("KeyPointLabels", "EllipseLabels"), "KeyPointLabels"),
        (config_without('toName="image" smart="true">\n    <Label value="Object" smart',
                        'toName="image" smart="false">\n    <Label value="Object" smart'), "smart"),
        (config_without('<Label value="Other" background="#007AFF"/>',
                        '<Label value="Others" background="#007AFF"/>'), "Others"),
        (config_without("</View>", '<Image name="second" value="$b"/></View>'), "several images"),
        ({**recorded_setup(), "schema": ""}, "no labelling configuration"),
    ],
    ids=["no brush", "no keypoints", "not smart", "labels differ", "two images", "empty"],
)  # fmt: skip
def test_mistakes_in_the_labelling_configuration(client, body, advice):
    assert advice in refusal(client, body)


def test_sentence_is_in_the_status_line_which_is_all_that_label_studio_shows(client):
    answer = client.post("/setup", json=config_without("BrushLabels", "EllipseLabels"))
    assert answer.status == f"422 {answer.json['error']}"
    assert len(answer.status.splitlines()) == 1


def test_status_line_holds_any_label(client):
    answer = client.post(
        "/setup", json=config_without('value="Object" smart', 'value="ковёр" smart')
    )
    assert answer.status_code == 422
    answer.status.encode("latin-1")
    assert "ковёр" in answer.json["error"]


def test_refused_token_is_named_with_its_kind_and_the_place_to_enable_it(client, label_studio):
    label_studio.legacy_tokens_enabled = False
    sentence = refusal(client, recorded_setup(), 502)
    assert "legacy token" in sentence
    assert "API Tokens Settings" in sentence


def test_unreachable_label_studio(client, label_studio):
    label_studio.stop()
    assert "LABEL_STUDIO_URL" in refusal(client, recorded_setup(), 502)


def test_a_token_that_no_header_can_hold_is_refused_and_not_repeated(
    tmp_path, checkpoint, label_studio
):
    client = create_app(Settings(model_dir=tmp_path, checkpoint=checkpoint)).test_client()
    body = recorded_setup() | {"hostname": label_studio.url, "access_token": "é-secret"}
    sentence = refusal(client, body, 502)
    assert "LABEL_STUDIO_API_KEY must be" in sentence
    assert "secret" not in sentence


def test_nobody_said_where_label_studio_is(tmp_path, checkpoint):
    client = create_app(Settings(model_dir=tmp_path, checkpoint=checkpoint)).test_client()
    body = {**recorded_setup(), "hostname": ""}
    assert "LABEL_STUDIO_URL" in refusal(client, body, 502)


def test_what_setup_brings_is_used_when_the_environment_is_silent(
    tmp_path, checkpoint, label_studio
):
    label_studio.project["id"] = 2
    client = create_app(Settings(model_dir=tmp_path, checkpoint=checkpoint)).test_client()
    told = {
        "hostname": f"{label_studio.url}/",
        "access_token": LEGACY_TOKEN,
        "project": "2.1795327560",
    }
    assert client.post("/setup", json={**recorded_setup(), **told}).status_code == 200
    (prediction,) = client.post("/predict", json=clicks(keypoint(50, 50))).json["results"]
    assert len(prediction["result"]) == 1
    assert not any(LEGACY_TOKEN.encode() in path.read_bytes() for path in tmp_path.rglob("*.db*"))


@pytest.fixture
def damaged(tmp_path, checkpoint):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(checkpoint.read_bytes()[:-100])
    path.with_suffix(".json").write_bytes(checkpoint.with_suffix(".json").read_bytes())
    return path


def test_damaged_network_is_said(tmp_path, label_studio, damaged):
    settings = Settings(
        model_dir=tmp_path,
        checkpoint=damaged,
        label_studio_url=label_studio.url,
        label_studio_api_key=LEGACY_TOKEN,
    )
    client = create_app(settings).test_client()
    (prediction,) = client.post("/predict", json=clicks(keypoint(50, 50))).json["results"]
    assert "damaged" in prediction["error"]
    assert "damaged" in refusal(client, recorded_setup(), 503)
    assert "cannot be loaded" in client.get("/").text


def test_a_damaged_network_leaves_what_served_before(tmp_path, checkpoint, damaged, caplog):
    for network in (checkpoint, damaged):
        settings = Settings(model_dir=tmp_path / "state", checkpoint=network)
        app = create_app(settings)
        backend = app.extensions["icmformer"]
        model = backend.models.serving("", Deadline(PATIENCE))
        assert model.version.name.startswith(checkpoint.stem)
        said = "What ICMFORMER_CHECKPOINT names does not go live" in app.test_client().get("/").text
        assert said == (network == damaged)
        backend.learning.close()
    assert "ICMFORMER_CHECKPOINT names does not go live" in caplog.text
    damaged.with_suffix(".json").unlink()
    open_learning(settings).close()  # the worker works on, too


def test_another_network_than_the_one_that_is_pinned_is_said(tmp_path, checkpoint, caplog):
    caplog.set_level("INFO")
    learning = open_learning(Settings(model_dir=tmp_path, checkpoint=checkpoint))
    learning.stores.versions.move(partial(pin, project=SITE, mover=Mover("ann", "")))
    learning.close()
    other = tmp_path / "other.safetensors"
    save_checkpoint(load_checkpoint(checkpoint), other, provenance={"samples": 7})
    for network in (checkpoint, other):
        caplog.clear()
        app = create_app(Settings(model_dir=tmp_path, checkpoint=network))
        app.extensions["icmformer"].learning.close()
        said = [line for line in caplog.messages if "as a person decided" in line]
        assert bool(said) == (network == other)
    assert "version 1 is live" in said[0]
    assert f"promote 2 makes what serve was started with live, {other}" in said[0]


def test_the_starter_is_the_one_of_the_network_package():
    assert versions.STARTER_WEIGHTS == icmformer.STARTER
    assert icmformer.STARTER.is_file()


def test_untrained_network_is_called_that_everywhere(tmp_path, label_studio, caplog, monkeypatch):
    monkeypatch.setattr(versions, "STARTER_WEIGHTS", tmp_path / "none.safetensors")
    settings = Settings(
        model_dir=tmp_path, label_studio_url=label_studio.url, label_studio_api_key=LEGACY_TOKEN
    )
    client = create_app(settings).test_client()
    assert client.post("/setup", json=recorded_setup()).json["model_version"] == "untrained"
    assert "UNTRAINED" in caplog.text
    assert "UNTRAINED" in client.get("/").text


def test_a_database_that_is_away_is_said_and_noted_like_any_other_problem(settings):
    app = create_app(settings)
    backend = app.extensions["icmformer"]
    backend.learning.close()
    for file in settings.model_dir.glob("state.db*"):
        file.unlink()
    (settings.model_dir / "state.db").mkdir()
    sentence = refusal(app.test_client(), recorded_setup(), 503)
    assert "unable to open database file" in sentence
    assert [one.problem for one in backend.connections.all()] == [sentence]
    (noted,) = backend.recent.failures()
    assert (noted.kind, noted.outcome) == ("setup", sentence)


def test_what_nobody_foresaw_is_no_connection(app, monkeypatch):
    backend = app.extensions["icmformer"]

    def fail(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(backend.webhook_login, "ensure", fail)
    sentence = refusal(app.test_client(), recorded_setup(), 500)
    assert [one.problem for one in backend.connections.all()] == [sentence]
    (noted,) = backend.recent.failures()
    assert noted.outcome == sentence


def test_project_and_its_problem_are_on_the_page(client):
    client.post("/setup", json=config_without("BrushLabels", "EllipseLabels"))
    assert "&lt;BrushLabels&gt;" in client.get("/").text
    client.post("/setup", json=recorded_setup())
    assert "fine" in client.get("/").text


def test_a_project_that_is_refused_when_it_connects_first_is_none_to_learn_from(client, learning):
    refusal(client, config_without("BrushLabels", "EllipseLabels"))
    assert learning.projects.all() == []
    assert client.get("/api/projects").json["projects"] == []
    assert client.post("/setup", json=recorded_setup()).status_code == 200
    refusal(client, config_without("BrushLabels", "EllipseLabels"))
    (project,) = learning.projects.all()
    assert "EllipseLabels" in project.label_config


def test_by_its_number_alone_the_project_that_is_known_is_meant(client, learning, app):
    """Label Studio always says when a project was made; a script may not."""
    real = recorded_setup()["project"]
    number = real.partition(".")[0]
    by_number = {**recorded_setup(), "project": number}
    event = {"action": "START_TRAINING", "project": {"id": int(number), "title": "By a script"}}
    for _ in range(2):
        assert client.post("/setup", json=by_number).status_code == 200
        assert client.post("/webhook", json=event).status_code == 201
        assert [one.key for one in learning.projects.all()] in ([], [real])
        assert client.post("/setup", json=recorded_setup()).status_code == 200
    assert learning.projects.key_of(number) == real
    assert learning.projects.meant("77") == learning.projects.meant("") == ""


def test_a_project_that_could_not_be_checked_is_known(client, learning, label_studio):
    label_studio.legacy_tokens_enabled = False
    refusal(client, recorded_setup(), 502)
    assert [project.number for project in learning.projects.all()] == ["1"]


def test_a_project_that_connects_anew_is_compared_again(client, learning, monkeypatch):
    monkeypatch.setattr("ml_backend.learning.projects._HEARD_SECONDS", 0.0)
    client.post("/setup", json=recorded_setup())
    (project,) = learning.projects.all()
    for state in ("connected", "not connected", "gone"):
        learning.projects.reconciled(project, "compared", state)
        client.post("/setup", json=recorded_setup())
        (project,) = learning.projects.all()
        assert project.is_reconcile_asked_for == (state != "connected")


def test_same_file_name_with_other_weights_is_another_version(tmp_path, settings):
    names = set()
    for seed in range(2):
        path = tmp_path / str(seed) / "net.safetensors"
        path.parent.mkdir()
        save_checkpoint(build_model("tiny", click_radius=3 + seed), path)
        app = create_app(settings.model_copy(update={"checkpoint": path}))
        names.add(app.test_client().post("/setup", json=recorded_setup()).json["model_version"])
    assert len(names) == 2
