"""Whatever comes in, an answer goes out: a sentence or an empty result, never a stack trace."""

import io
import json
import math

import pytest
from PIL import Image
from sqlalchemy import Engine, event

from ml_backend.app import create_app
from tests.ml_backend.conftest import photograph
from tests.ml_backend.label_studio_requests import clicks, keypoint, recorded, recorded_setup

UPLOAD = "upload/2/7eff500a-103070.jpg"


def sentence(answer):
    assert answer.is_json, answer.text
    text = answer.json["error"]
    assert "Traceback" not in text
    assert 'File "' not in text
    assert "\n" not in text
    return text


def nothing(client, body):
    """Predict, expect an empty result, and return the sentence that says why."""
    answer = client.post("/predict", data=json.dumps(body), content_type="application/json")
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json["results"]
    assert prediction["result"] == []
    assert prediction["score"] == 0.0
    return prediction["error"]


def still_alive(client):
    (prediction,) = client.post("/predict", json=clicks(keypoint(50, 50))).json["results"]
    assert len(prediction["result"]) == 1


@pytest.mark.parametrize("route", ["/predict", "/setup", "/webhook"])
@pytest.mark.parametrize("body", [b"", b"{", b"\x00\xff", b"[1]", b"null", b"[" * 50_000])
def test_body_that_is_no_json_object(client, route, body):
    answer = client.post(route, data=body)
    assert answer.status_code == 400
    assert "request body" in sentence(answer)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tasks": 1},
        {"tasks": ["x"]},
        {"tasks": [], "params": "x"},
        {"tasks": [{}, {}], "params": {"context": {}}},
        {"tasks": [{}], "params": {"context": [1]}},
        {"tasks": [{}], "label_config": 3},
    ],
)
def test_wrong_types(client, body):
    answer = client.post("/predict", json=body)
    assert answer.status_code == 400
    sentence(answer)


def test_unusable_labelling_configuration(client):
    body = clicks(keypoint(50, 50))
    for config in ("", "<View", "<View/>", '<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>'):
        answer = client.post("/predict", json={**body, "label_config": config})
        assert answer.status_code == 422
        sentence(answer)


@pytest.mark.parametrize(
    "value",
    [
        {"x": math.nan},
        {"y": math.inf},
        {"x": -5},
        {"x": 101},
        {"x": "50"},
        {"x": None},
        {"x": 10**400},
        {"keypointlabels": "Object"},
        {"keypointlabels": [[]]},
    ],
)
def test_keypoint_that_is_nowhere(client, value):
    item = keypoint(50, 50, id="odd")
    item["value"].update(value)
    assert "odd" in nothing(client, clicks(item))
    still_alive(client)


def test_ten_thousand_keypoints(client, settings):
    assert "10000" in nothing(client, clicks(*[keypoint(50, 50)] * 10_000))
    many = [keypoint(50, 50)] * (settings.max_clicks + 1)
    assert str(settings.max_clicks) in nothing(client, clicks(*many))
    still_alive(client)


@pytest.mark.parametrize("context", [{"result": 3}, {"result": "x"}, {"result": {"a": 1}}])
def test_context_that_is_no_list(client, context):
    body = clicks()
    body["params"]["context"] = context
    assert "list" in nothing(client, body)


@pytest.mark.parametrize("item", [None, 3, [], {}, {"type": "keypointlabels"}, {"type": 7}])
def test_items_that_are_no_keypoints_are_left_alone(client, item):
    (prediction,) = client.post("/predict", json=clicks(item)).json["results"]
    assert prediction["result"] == []


@pytest.mark.parametrize("data", [None, 3, [], {}, {"image": None}, {"image": 3}, {"image": " "}])
def test_task_without_an_image(client, data):
    body = clicks(keypoint(50, 50))
    body["tasks"][0]["data"] = data
    assert "image" in nothing(client, body)


def bomb():
    """An image of 400 megapixels in a few kilobytes."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>404</html>", id="no image"),
        pytest.param(photograph(481, 321)[:2000], id="truncated"),
        pytest.param(bomb(), id="bomb"),
    ],
)
def test_image_that_cannot_be_used(client, label_studio, content):
    usable = label_studio.files[UPLOAD]
    label_studio.files[UPLOAD] = content
    assert "7eff500a" in nothing(client, clicks(keypoint(50, 50)))
    label_studio.files[UPLOAD] = usable
    still_alive(client)


@pytest.mark.parametrize("project", ["7\0", "no such project", "7.8.9"])
def test_versions_for_a_project_that_is_none_ask_the_database_for_no_such_name(client, project):
    asked = []
    listen = Engine, "before_cursor_execute", lambda *of: asked.append(str(of[3]))
    event.listen(*listen)
    try:
        answer = client.get("/versions", query_string={"project": project})
    finally:
        event.remove(*listen)
    assert len(answer.json["versions"]) == 1
    assert asked
    # PostgreSQL answers a NUL in a parameter with an error
    assert not any(repr(project) in parameters for parameters in asked)


def test_image_that_is_missing(client, label_studio):
    del label_studio.files[UPLOAD]
    assert "404" in nothing(client, clicks(keypoint(50, 50)))


def test_image_file_that_is_too_large(settings, label_studio):
    client = create_app(settings.model_copy(update={"max_image_mb": 1})).test_client()
    label_studio.files[UPLOAD] = photograph(481, 321) + b"\0" * 1_100_000
    assert "MB" in nothing(client, clicks(keypoint(50, 50)))


def test_token_that_is_refused_is_named_by_kind(client, label_studio):
    label_studio.legacy_tokens_enabled = False
    assert "legacy token" in nothing(client, clicks(keypoint(50, 50)))


def test_label_studio_that_is_away(client, label_studio):
    label_studio.stop()
    assert "cannot be reached" in nothing(client, clicks(keypoint(50, 50)))


def test_body_that_is_too_large(settings):
    client = create_app(settings.model_copy(update={"max_body_mb": 1})).test_client()
    answer = client.post("/predict", data=b" " * (1 << 20) + b"{}")
    # Of a 413, Label Studio says that all predictions came; after one entry it asks task by task.
    assert answer.status_code == 200
    (entry,) = answer.json["results"]
    assert entry == {"error": "the request body is larger than 1 MB (ICMFORMER_MAX_BODY_MB)"}
    assert client.post("/setup", data=b" " * (1 << 20) + b"{}").status_code == 413
    assert "ICMFORMER_MAX_BODY_MB" in client.get("/").text
    assert 'icmformer_errors_total{kind="RequestEntityTooLarge"} 2.0' in client.get("/metrics").text


def test_body_in_chunks_that_is_too_large(settings):
    client = create_app(settings.model_copy(update={"max_body_mb": 1})).test_client()

    def post(path, body):
        # As gunicorn hands over what comes without a length.
        return client.post(
            path,
            input_stream=io.BytesIO(body),
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )

    too_large = b" " * (1 << 20) + b"{}"
    for path in ("/setup", "/webhook"):
        answer = post(path, too_large)
        assert answer.status_code == 413
        assert answer.json["error"].startswith("the request body is larger than 1 MB")
    assert "larger than 1 MB" in post("/predict", too_large).json["results"][0]["error"]
    assert "larger than" not in post("/setup", b" " * (1 << 19) + b"{}").json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("get", "/nowhere", 404), ("get", "/predict", 405), ("post", "/health", 405)],
)
def test_addresses_that_do_not_exist(client, method, path, status):
    answer = getattr(client, method)(path)
    assert answer.status_code == status
    sentence(answer)


@pytest.mark.parametrize("path", ["/projects/%00", "/projects/%01%0a", "/api/projects/%00"])
def test_control_characters_are_no_project(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.status.isprintable()
    assert "no control characters" in answer.text.replace("&#39;", "'")


def test_what_visitors_ask_for_is_logged_with_its_sender_and_no_failure(client, caplog):
    client.get("/projects/99")
    client.get("/projects/%00")
    line = "refused GET /projects/99 to 127.0.0.1: project 99 has never been seen here"
    assert line in caplog.messages
    assert "icmformer_errors_total{" not in client.get("/metrics").text


def test_what_nobody_foresaw_is_logged_and_not_told(app, caplog):
    backend = app.extensions["icmformer"]
    # As if memory or the driver failed in the middle of a pass.
    backend.queue._executor.shutdown()
    client = app.test_client()
    assert "unforeseen" in nothing(client, clicks(keypoint(50, 50)))
    assert "RuntimeError" in caplog.text
    assert "cannot schedule" not in client.get("/").text


def test_failures_show_on_the_page_and_in_the_metrics(client, label_studio):
    del label_studio.files[UPLOAD]
    nothing(client, clicks(keypoint(50, 50)))
    assert "does not have the file" in client.get("/").text
    assert 'icmformer_errors_total{kind="TaskImageError"} 1.0' in client.get("/metrics").text


def test_page_escapes_what_comes_from_outside(client):
    body = clicks(keypoint(50, 50))
    body["tasks"][0]["data"] = {"image": "ftp://<script>alert(1)</script>"}
    nothing(client, body)
    page = client.get("/").text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_secrets_appear_in_no_answer_and_no_log(client, settings, caplog):
    caplog.set_level("DEBUG")
    client.post("/setup", json={**recorded_setup(), "access_token": "tok-of-setup"})
    client.post("/webhook", json=recorded("webhook_ANNOTATION_CREATED"))
    client.post("/predict", json=clicks(keypoint(50, 50)))
    project_token = recorded("webhook_ANNOTATION_CREATED")["project"]["token"]
    for secret in ("tok-of-setup", settings.api_key, project_token):
        assert secret not in caplog.text
        assert secret not in client.get("/").text
