"""The login is asked for everywhere but at public endpoints."""

import base64

import pytest
from flask import Flask

from ml_backend.auth import authorization_header, require_login
from ml_backend.metrics import Metrics
from ml_backend.web.http_errors import answer_errors


def protected(credentials):
    app = Flask(__name__)
    answer_errors(app, Metrics())
    require_login(app, credentials, public=frozenset({"alive"}))
    app.add_url_rule("/alive", "alive", lambda: "alive")
    app.add_url_rule("/secret", "secret", lambda: "secret")
    return app.test_client()


def get(client, path, header=None):
    return client.get(path, headers={} if header is None else {"Authorization": header})


def test_without_credentials_everything_is_open():
    assert get(protected(None), "/secret").status_code == 200


def test_right_login_opens():
    client = protected(("ann", "s:e c"))
    assert get(client, "/secret", authorization_header("ann", "s:e c")).status_code == 200
    token = base64.b64encode(b"ann:s:e c").decode()
    assert get(client, "/secret", f"basic {token}").status_code == 200


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_both_encodings_of_an_umlaut_open(encoding):
    token = base64.b64encode("jörg:grün".encode(encoding)).decode()
    assert get(protected(("jörg", "grün")), "/secret", f"Basic {token}").status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic %%%",
        "Basic \xff",
        "Bearer abc",
        authorization_header("ann", "wrong"),
        authorization_header("bob", "secret"),
        authorization_header("ann", "secret ")[:-1],
    ],
)
def test_anything_else_is_refused_with_a_sentence(header):
    answer = get(protected(("ann", "secret")), "/secret", header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert "login" in answer.json["error"]
    # Label Studio shows an administrator the status line and nothing else.
    assert answer.status == f"401 {answer.json['error']}"


def test_letters_that_latin_1_lacks_do_not_become_question_marks():
    client = protected(("ann", "пароль"))
    assert get(client, "/secret", authorization_header("ann", "??????")).status_code == 401
    assert get(client, "/secret", authorization_header("ann", "пароль")).status_code == 200


def test_unknown_paths_ask_for_the_login_too():
    assert get(protected(("ann", "secret")), "/nowhere").status_code == 401


def test_liveness_stays_public():
    client = protected(("ann", "secret"))
    assert get(client, "/alive").status_code == 200
    assert get(client, "/alive", authorization_header("ann", "wrong")).status_code == 200
