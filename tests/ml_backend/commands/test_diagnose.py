import sys

import pytest
from flask import Flask

from ml_backend.__main__ import main
from ml_backend.auth import authorization_header, require_login
from ml_backend.connection.connection_checks import Finding, Level, check_connection
from ml_backend.errors import LoginError
from ml_backend.images.image_limits import ImageLimits
from tests.ml_backend.stand_in import (
    LEGACY_TOKEN,
    PERSONAL_TOKEN,
    StandInLabelStudio,
    serving,
    token,
)
from tests.ml_backend.task_pictures import UPLOAD, png


@pytest.fixture
def backend_url():
    app = Flask("backend")
    app.add_url_rule("/health", "health", lambda: {"status": "UP"})
    app.add_url_rule("/versions", "versions", lambda: ({}, app.config.get("VERSIONS", 200)))
    with serving(app) as url:
        yield url


@pytest.fixture
def stand_in(backend_url):
    """A project that is connected as it should be."""
    label_studio = StandInLabelStudio(
        files={"upload/1/0123abcd-cells.png": png()},
        tasks=[{"id": 41, "data": {"image": UPLOAD}}],
        ml_backends=[
            {
                "id": 3,
                "url": backend_url,
                "state": "CO",
                "readable_state": "Connected",
                "is_interactive": True,
                "model_version": "starter",
            }
        ],
        webhooks=[
            {
                "id": 2,
                "url": f"{backend_url}/webhook",
                "send_payload": True,
                "send_for_all_actions": True,
                "is_active": True,
                "actions": [],
                "headers": {},
            }
        ],
    )
    with serving(label_studio.app()) as label_studio.url:
        yield label_studio


def check(stand_in, *, api_key=LEGACY_TOKEN, project="1", backend_url=""):
    return check_connection(stand_in.url, api_key, project, backend_url, ImageLimits())


def faults(findings):
    return [finding for finding in findings if finding.level is not Level.OK]


@pytest.mark.parametrize("api_key", [LEGACY_TOKEN, PERSONAL_TOKEN])
def test_a_sound_connection(stand_in, api_key, backend_url):
    findings = check(stand_in, api_key=api_key)
    assert faults(findings) == []
    assert {finding.subject for finding in findings} == {
        *("Label Studio", "release", "token", "project", "labels", "images"),
        *("backend", "connection", "webhook"),
    }
    assert Finding(Level.OK, "images", "task 41 has 9x6 pixels") in findings
    assert check(stand_in, api_key=api_key, backend_url=f"{backend_url}/") == findings


def only_fault(findings, subject, level=Level.FAILURE):
    (finding,) = faults(findings)
    assert finding.subject == subject
    assert finding.level is level
    return finding.text


def test_label_studio_is_not_there():
    findings = check_connection("http://127.0.0.1:1", LEGACY_TOKEN, "1", "", ImageLimits())
    assert "http://127.0.0.1:1/health does not answer" in only_fault(findings, "Label Studio")
    findings = check_connection("localhost:8080", LEGACY_TOKEN, "1", "", ImageLimits())
    assert "must be http://" in only_fault(findings, "Label Studio")


def test_something_else_is_there():
    app = Flask("other")
    app.add_url_rule("/health", "health", lambda: "OK")
    with serving(app) as url:
        findings = check_connection(url, LEGACY_TOKEN, "1", "", ImageLimits())
        assert "it does not answer in JSON" in only_fault(findings, "Label Studio")
        findings = check_connection(f"{url}/deeper", LEGACY_TOKEN, "1", "", ImageLimits())
        assert only_fault(findings, "Label Studio")


@pytest.mark.parametrize("has_version", [False, True])
def test_something_like_it_is_there(has_version):
    app = Flask("another backend, or an older release")
    app.add_url_rule("/health", "health", lambda: {"status": "UP"})
    if has_version:
        app.add_url_rule("/api/version/", "version", lambda: {"release": "1.0.0"})
    with serving(app) as url:
        findings = check_connection(url, LEGACY_TOKEN, "1", "", ImageLimits())
    if has_version:
        assert f"answered 404 to {url}/api/jwt/settings" in only_fault(findings, "token")
    else:
        assert f"{url} is not the address of a Label" in only_fault(findings, "Label Studio")


def test_tokens_that_do_not_work(stand_in):
    stand_in.legacy_tokens_enabled = False
    assert "or legacy tokens are off under" in only_fault(check(stand_in), "token")
    text = only_fault(check(stand_in, api_key=token("refresh", number=5)), "token")
    assert "personal access token (401): it was revoked" in text
    assert "wants a token" in only_fault(check(stand_in, api_key=""), "token")


def test_an_access_token_works_only_for_now(stand_in):
    stand_in.access_tokens.append(token("access"))
    findings = check(stand_in, api_key=stand_in.access_tokens[0])
    assert "five minutes" in only_fault(findings, "token", Level.WARNING)


def test_the_token_that_label_studio_hands_out_may_be_useless(stand_in):
    stand_in.legacy_tokens_enabled = False
    findings = check(stand_in, api_key=PERSONAL_TOKEN)
    assert "LABEL_STUDIO_API_KEY" in only_fault(findings, "legacy tokens", Level.WARNING)


def test_another_project(stand_in):
    assert "project 7 cannot be read" in only_fault(check(stand_in, project="7"), "project")


def test_settings_that_are_in_the_way(stand_in):
    stand_in.project["show_collab_predictions"] = True
    stand_in.project["start_training_on_annotation_update"] = True
    findings = faults(check(stand_in))
    assert [finding.subject for finding in findings] == ["prelabeling", "training"]
    assert {finding.level for finding in findings} == {Level.WARNING}


def test_a_labelling_configuration_that_cannot_be_served(stand_in):
    stand_in.project["label_config"] = "<View/>"
    assert "add <Image" in only_fault(check(stand_in), "labels")


def test_images(stand_in):
    stand_in.files.clear()
    assert "does not have the file" in only_fault(check(stand_in), "images")
    stand_in.tasks.clear()
    assert "no tasks yet" in only_fault(check(stand_in), "images", Level.WARNING)


def test_no_backend_is_connected(stand_in, backend_url):
    stand_in.ml_backends.clear()
    text = only_fault(check(stand_in), "backend")
    assert "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false" in text
    text = only_fault(check(stand_in, backend_url=backend_url), "connection")
    assert f"{backend_url} is not connected to the project (connected: none)" in text
    assert "ML_BLOCK_LOCAL_IP=false" in text


def test_a_public_backend_is_not_blocked(stand_in):
    findings = faults(check(stand_in, backend_url="http://8.8.8.8:1"))
    (text,) = [finding.text for finding in findings if finding.subject == "connection"]
    assert "ML_BLOCK_LOCAL_IP" not in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"is_interactive": False}, "switch on Interactive preannotations"),
        ({"state": "ER", "readable_state": "Error", "error_message": "no brush"}, "no brush"),
        ({"state": "DI", "readable_state": "Disconnected"}, "Disconnected: no reason"),
    ],
)
def test_a_backend_that_is_not_used(stand_in, changes, sentence):
    stand_in.ml_backends[0].update(changes)
    assert sentence in only_fault(check(stand_in), "connection")


def test_another_backend_gets_the_clicks(stand_in, backend_url):
    other = {**stand_in.ml_backends[0], "url": "http://other:9090"}
    stand_in.ml_backends.insert(0, other)
    findings = check(stand_in, backend_url=backend_url)
    assert "interactive backend, http://other:9090" in only_fault(findings, "connection")


@pytest.mark.parametrize("address", ["backend.internal:9090", "http://[::1", "ftp://backend"])
def test_what_is_no_address_is_said_to_be_none(stand_in, address):
    text = only_fault(check(stand_in, backend_url=address), "backend")
    assert text == f"{address!r} is no address such as http://backend.internal:9090"


def test_a_host_that_nobody_can_have_does_not_answer(stand_in):
    first = faults(check(stand_in, backend_url=f"http://{'a' * 64}.example"))[0]
    assert "does not answer as it should" in first.text
    assert "JSON" not in first.text


def test_a_backend_that_does_not_answer(stand_in):
    stand_in.ml_backends[0]["url"] = "http://127.0.0.1:1"
    stand_in.webhooks[0]["url"] = "http://127.0.0.1:1/webhook"
    assert "/health does not answer" in only_fault(check(stand_in), "backend")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "http://other:9090/webhook"}, "SSRF_PROTECTION_ENABLED=false"),
        ({"is_active": False}, "switched off"),
        ({"send_payload": False}, "without its payload"),
        (
            {"send_for_all_actions": False, "actions": ["ANNOTATION_CREATED"]},
            "leaves out ANNOTATIONS_DELETED, ANNOTATION_UPDATED",
        ),
    ],
)
def test_webhooks_that_teach_nothing(stand_in, changes, sentence):
    stand_in.webhooks[0].update(changes)
    assert sentence in only_fault(check(stand_in), "webhook")


def test_a_webhook_may_be_written_otherwise_and_pass_a_proxy(stand_in):
    stand_in.ml_backends[0]["url"] = "http://backend.invalid"
    for address in ("https://backend.invalid/webhook", "http://Backend.invalid:80/webhook/"):
        stand_in.webhooks[0]["url"] = address
        assert {finding.subject for finding in faults(check(stand_in))} == {"backend"}


def test_a_name_that_label_studio_makes_no_webhook_to(stand_in):
    # as a service of containers is called; Label Studio connects it and says nothing
    stand_in.ml_backends[0]["url"] = "http://ml_backend:9090"
    text = faults(check(stand_in))[-1].text
    assert "webhooks only to an IP address, localhost or a name with a dot" in text
    assert "(ml-backend.internal, say)" in text


@pytest.mark.parametrize(
    ("headers", "given"),
    [
        ({}, "none"),
        ({"X-Team": "a"}, "none"),
        ({"Authorization": authorization_header("ann", "old")}, "another one"),
        ({"Authorization": "B\u0105sic"}, "another one"),
        ({"Authorization": "Basic\nYW5uOm5ldw=="}, "another one"),
        ({"authorization": authorization_header("ann", "new")}, None),
    ],
)
def test_a_webhook_without_the_login_of_the_backend(headers, given):
    app = Flask("backend")
    require_login(app, ("ann", "new"), frozenset({"health"}))
    app.register_error_handler(LoginError, lambda error: ({}, 401))
    app.add_url_rule("/health", "health", lambda: {"status": "UP"})
    app.add_url_rule("/versions", "versions", lambda: {})
    with serving(app) as url:
        label_studio = StandInLabelStudio(
            ml_backends=[{"url": url, "state": "CO", "is_interactive": True}],
            webhooks=[{"url": f"{url}/webhook", "send_for_all_actions": True, "headers": headers}],
        )
        with serving(label_studio.app()) as label_studio.url:
            findings = faults(check(label_studio))
    texts = [finding.text for finding in findings if finding.subject == "webhook"]
    assert [given in text for text in texts] == ([True] if given else [])


@pytest.mark.parametrize("project", ["1", "1.1795325716"])
def test_the_command_prints_a_line_a_check(stand_in, monkeypatch, capsys, project):
    command = ["ml_backend", "diagnose", "--project", project]
    command += ["--url", stand_in.url, "--api-key", LEGACY_TOKEN]
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    stand_in.webhooks.clear()
    capsys.readouterr()
    assert main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"ok   Label Studio: answers at {stand_in.url}"
    assert lines[-1].startswith("FAIL webhook: no webhook calls")
    assert LEGACY_TOKEN not in "".join(lines)


def test_a_project_that_nobody_can_mean_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ml_backend", "diagnose", "--project", "cats"])
    with pytest.raises(SystemExit):
        main()
    assert "cats is no number or key of a project" in capsys.readouterr().err
