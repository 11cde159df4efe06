import re
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import urllib3
from flask import Flask, redirect
from hypothesis import given
from hypothesis import strategies as st
from requests.exceptions import SSLError
from urllib3.exceptions import MaxRetryError

from ml_backend.deadline import Deadline
from ml_backend.errors import LabelStudioError
from ml_backend.label_studio import access_tokens
from ml_backend.label_studio.access_tokens import TokenKind, kind_of
from ml_backend.label_studio.client import LabelStudio
from ml_backend.label_studio.no_answer import reason
from tests.ml_backend.stand_in import (
    LEGACY_TOKEN,
    PERSONAL_TOKEN,
    StandInLabelStudio,
    serving,
    token,
)
from tests.waiting import PATIENCE


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("CERTIFICATE_VERIFY_FAILED] self-signed", "signed it as REQUESTS_CA_BUNDLE"),
        ("CERTIFICATE_VERIFY_FAILED] Hostname mismatch", "is for another name"),
        ("CERTIFICATE_VERIFY_FAILED] certificate has expired", "its certificate has expired"),
        ("TLSV1_ALERT_PROTOCOL_VERSION]", "TLS fails: .*TLSV1_ALERT_PROTOCOL_VERSION"),
    ],
)
def test_why_tls_fails_is_said(said, words):
    error = SSLError(ssl.SSLError(1, f"[SSL: {said}"))
    sentence = str(LabelStudio("https://ls", LEGACY_TOKEN).unreachable(error))
    assert re.search(words, sentence)


def test_why_tls_fails_is_said_without_the_query_which_may_be_a_signature():
    cause = urllib3.exceptions.SSLError(ssl.SSLError(1, "[SSL: TLSV1_ALERT] alert"))
    pool = urllib3.HTTPSConnectionPool("bucket")
    error = SSLError(MaxRetryError(pool, "/a.jpg?X-Amz-Signature=secret", cause))
    assert "secret" in str(error)
    said = reason(error)
    assert "TLSV1_ALERT" in said
    assert "secret" not in said


def test_an_address_without_tls_and_a_missing_file_of_certificates_are_named(stand_in, monkeypatch):
    https = LabelStudio(stand_in.url.replace("http", "https"), LEGACY_TOKEN)
    with pytest.raises(LabelStudioError, match="does not speak TLS there: is it http://"):
        https.version()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(LabelStudioError, match=r"/nowhere/ca\.pem \(REQUESTS_CA_BUNDLE\)"):
        https.version()


@pytest.fixture
def stand_in():
    label_studio = StandInLabelStudio()
    with serving(label_studio.app()) as label_studio.url:
        yield label_studio


@pytest.mark.parametrize(
    ("api_key", "kind"),
    [
        ("", TokenKind.NONE),
        (LEGACY_TOKEN, TokenKind.LEGACY),
        ("a.b.c", TokenKind.LEGACY),
        ("a.e30x.c", TokenKind.LEGACY),
        ("a.W10.c", TokenKind.LEGACY),  # a JSON list
        (PERSONAL_TOKEN, TokenKind.PERSONAL),
        (PERSONAL_TOKEN.rpartition(".")[0], TokenKind.PERSONAL),  # copied without its signature
        (token("access"), TokenKind.ACCESS),
    ],
)
def test_a_token_is_known_by_its_form(api_key, kind):
    assert kind_of(api_key) is kind


@pytest.mark.parametrize("api_key", [LEGACY_TOKEN, PERSONAL_TOKEN, f"  {LEGACY_TOKEN}\n"])
def test_both_usual_tokens_open_the_api(stand_in, api_key):
    label_studio = LabelStudio(stand_in.url + "/", api_key)
    assert label_studio.version() == "1.23.2"
    assert label_studio.project("1")["title"] == "Cells"


def test_an_access_token_is_used_as_it_is(stand_in):
    stand_in.access_tokens.append(token("access"))
    assert LabelStudio(stand_in.url, stand_in.access_tokens[0]).version() == "1.23.2"
    assert stand_in.paths("refresh") == []


def test_a_personal_token_is_exchanged_once_by_many_threads(stand_in):
    label_studio = LabelStudio(stand_in.url, PERSONAL_TOKEN)
    threads = [threading.Thread(target=label_studio.version) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stand_in.paths("/api/version/")) == 8
    assert len(stand_in.paths("refresh")) == 1
    assert {header for _, path, header in stand_in.requests if "refresh" in path} == {""}


def test_who_waits_for_an_exchange_that_fails_does_not_try_again():
    calls, silence, waiting = [], threading.Event(), threading.Semaphore(0)

    def fail(key):
        calls.append(key)
        silence.wait(PATIENCE)
        raise LabelStudioError("it does not answer", 504)

    class Patience(Deadline):
        def remaining(self):  # is asked by who waits for an exchange that is going on
            waiting.release()
            return super().remaining()

    tokens = access_tokens.AccessTokens(PERSONAL_TOKEN, fail)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(tokens.header, Patience(60)) for _ in range(4)]
        assert all(waiting.acquire(timeout=PATIENCE) for _ in asked)
        silence.set()
        errors = [one.exception() for one in asked]
    assert {(str(error), error.answered) for error in errors} == {("it does not answer", 504)}
    tried = len(calls)
    with pytest.raises(LabelStudioError):
        tokens.header()
    assert (tried, len(calls)) == (1, 2)


def test_an_access_token_is_replaced_before_it_expires(stand_in):
    stand_in.access_lifetime = access_tokens.MARGIN_SECONDS / 2
    label_studio = LabelStudio(stand_in.url, PERSONAL_TOKEN)
    label_studio.version()
    label_studio.version()
    assert len(stand_in.paths("refresh")) == 2


def test_an_access_token_without_dates_is_kept_for_a_while(stand_in):
    calls = []
    tokens = access_tokens.AccessTokens(PERSONAL_TOKEN, lambda key: calls.append(key) or "plain")
    assert tokens.header() == tokens.header() == "Bearer plain"
    assert calls == [PERSONAL_TOKEN]


def test_a_refused_access_token_is_renewed_once(stand_in):
    label_studio = LabelStudio(stand_in.url, PERSONAL_TOKEN)
    label_studio.version()
    stand_in.revoke_access()
    assert label_studio.version() == "1.23.2"
    assert len(stand_in.paths("refresh")) == 2


def refusal(label_studio):
    with pytest.raises(LabelStudioError) as error:
        label_studio.version()
    assert LEGACY_TOKEN not in str(error.value)
    return str(error.value)


def test_a_refused_token_is_named_by_its_kind_with_where_to_change_it(stand_in):
    stand_in.legacy_tokens_enabled = False
    text = refusal(LabelStudio(stand_in.url, LEGACY_TOKEN))
    assert "refuses the legacy token (401)" in text
    assert "Organization > API Tokens Settings" in text
    text = refusal(LabelStudio(stand_in.url, token("refresh", number=7)))
    assert "refuses the personal access token (401): it was revoked" in text
    text = refusal(LabelStudio(stand_in.url, token("access")))
    assert "refuses the access token (401): it lives for five minutes" in text
    text = refusal(LabelStudio(stand_in.url, ""))
    assert "wants a token (401): set LABEL_STUDIO_API_KEY" in text


def test_an_expired_personal_token_is_not_even_sent(stand_in):
    text = refusal(LabelStudio(stand_in.url, token("refresh", lifetime=-1e6)))
    assert "personal access token expired on 20" in text
    assert stand_in.requests == []


def test_a_refused_exchange_says_how_it_was_answered(stand_in):
    with pytest.raises(LabelStudioError) as error:
        LabelStudio(stand_in.url, token("refresh", number=7)).version()
    assert error.value.answered == 401


def test_what_is_not_there(stand_in):
    with pytest.raises(LabelStudioError, match="has no project 99") as error:
        LabelStudio(stand_in.url, LEGACY_TOKEN).project(99)
    assert error.value.answered == 404
    with pytest.raises(LabelStudioError, match="answered 404") as error:
        LabelStudio(stand_in.url, LEGACY_TOKEN).task(99)
    assert error.value.answered == 404


def test_nothing_listens():
    with serving(Flask("gone")) as url:
        pass
    with pytest.raises(LabelStudioError, match="cannot be reached from this machine") as error:
        LabelStudio(url, LEGACY_TOKEN).version()
    assert url in str(error.value)
    assert error.value.answered is None


@pytest.mark.parametrize("url", ["", "a:8080", "ftp://a", "http://", "http://a:b", "http://a b"])
def test_an_address_that_is_none(url):
    with pytest.raises(LabelStudioError, match=r"LABEL_STUDIO_URL must be .* a port up to 65535"):
        LabelStudio(url, LEGACY_TOKEN)


def test_no_redirect_is_followed_and_the_token_stays():
    app, elsewhere, seen = Flask("moved"), Flask("elsewhere"), []
    elsewhere.before_request(lambda: seen.append(1))
    with serving(elsewhere) as other, serving(app) as url:
        app.get("/api/version/")(lambda: redirect(f"{other}/api/version/", 301))
        with pytest.raises(LabelStudioError, match="set LABEL_STUDIO_URL") as error:
            LabelStudio(url, LEGACY_TOKEN).version()
    assert other in str(error.value)
    assert seen == []


@pytest.mark.parametrize("target", ["/api/version/", "", "?again=1"])
def test_a_redirect_in_a_circle_is_told_from_one_to_another_address(target):
    app = Flask("circle")
    app.get("/api/version/")(lambda: redirect(target))
    itself = "sends requests on to itself: check what stands in front"
    with serving(app) as url, pytest.raises(LabelStudioError, match=itself):
        LabelStudio(url, LEGACY_TOKEN).version()


def test_a_redirect_to_no_address():
    def moved(environ, start_response):
        start_response("302 Found", [("Location", "http://[::1/api/version/")])
        return [b""]

    none = "sends requests on to an address that cannot be read"
    with serving(moved) as url, pytest.raises(LabelStudioError, match=none):
        LabelStudio(url, LEGACY_TOKEN).version()


def test_something_else_answers():
    app = Flask("other")
    for rule, answer in {
        "/api/version/": "<html>hello</html>",
        "/api/jwt/settings": "3",
        "/api/projects/1/": [1],
        "/api/projects/2/": ("oops", 500),
    }.items():
        app.add_url_rule(rule, rule, lambda answer=answer: answer)
    with serving(app) as url:
        label_studio = LabelStudio(url, "")
        with pytest.raises(LabelStudioError, match="does not answer like Label Studio"):
            label_studio.version()
        with pytest.raises(LabelStudioError, match="answered 200"):
            label_studio.token_settings()
        with pytest.raises(LabelStudioError, match="does not answer like Label Studio"):
            label_studio.project(1)
        with pytest.raises(LabelStudioError, match="answered 500"):
            label_studio.project(2)


@pytest.mark.parametrize("key", ["é1…", "a\nb", "Token 0123"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(stand_in, key):
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_API_KEY must be") as error:
        LabelStudio(stand_in.url, key)
    assert key not in str(error.value)
    assert LabelStudio(stand_in.url, f" {LEGACY_TOKEN}\n").version() == "1.23.2"


@pytest.mark.parametrize("access", [None, "é1…", "a\nb"])
def test_an_exchange_without_a_token_in_it(access):
    app = Flask("odd")
    app.post("/api/token/refresh/")(lambda: {"access": access})
    with (
        serving(app) as url,
        pytest.raises(LabelStudioError, match="returned no access token"),
    ):
        LabelStudio(url, PERSONAL_TOKEN).version()


def test_a_netrc_file_does_not_replace_the_token(stand_in, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert LabelStudio(stand_in.url, LEGACY_TOKEN).version() == "1.23.2"
    with pytest.raises(LabelStudioError, match="wants a token"):
        LabelStudio(stand_in.url, "").version()
    assert [header for _, _, header in stand_in.requests] == [f"Token {LEGACY_TOKEN}", ""]


def test_all_tasks_come_page_by_page(stand_in):
    stand_in.tasks = [
        {"id": number, "annotations": [{"id": number}] if number % 3 == 0 else []}
        for number in range(1, 168)
    ]
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    assert [task["id"] for task in label_studio.tasks(1)] == list(range(1, 168))
    assert [task["id"] for task in label_studio.tasks(1, annotated=True)] == list(range(3, 168, 3))
    assert all("resolve_uri=false" in path for path in stand_in.paths("/api/tasks/"))
    stand_in.tasks = []
    assert list(label_studio.tasks(1)) == []


def test_a_task_of_its_own(stand_in):
    stand_in.tasks = [{"id": 4, "annotations": []}]
    assert LabelStudio(stand_in.url, LEGACY_TOKEN).task("4")["id"] == 4


def test_a_webhook_is_narrowed_although_label_studio_sets_cookies(stand_in):
    stand_in.webhooks = [{"id": 2, "url": "http://backend/webhook", "send_for_all_actions": True}]
    label_studio = LabelStudio(stand_in.url, LEGACY_TOKEN)
    (webhook,) = label_studio.webhooks(1)
    changes = {"send_for_all_actions": False, "headers": {"Authorization": "Basic eA=="}}
    assert label_studio.change_webhook(webhook["id"], changes) == {**webhook, **changes}
    assert label_studio.webhooks(1)[0]["send_for_all_actions"] is False


def test_backends_of_a_project(stand_in):
    stand_in.ml_backends = [{"id": 3, "url": "http://127.0.0.1:9090"}]
    assert LabelStudio(stand_in.url, LEGACY_TOKEN).ml_backends(1) == stand_in.ml_backends
    assert stand_in.paths("/api/ml/") == ["/api/ml/?project=1"]


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://host/a", True),
        ("http://HOST:80/a", True),
        ("https://host/a", False),
        ("http://host:8080/a", False),
        ("http://host.evil.com/a", False),
        ("http://host@evil.com/a", False),
        ("http://evil.com\\@host/a", False),
        ("http://evil.com:80\\@host:80/a", False),
        ("http://host\\@evil.com/a", True),
        ("http://ho\tst/a", False),
        ("/a", False),
    ],
)
def test_only_its_own_addresses_may_see_the_token(address, here):
    assert LabelStudio("http://host", "x").is_here(address) is here


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("https://tools/label-studio/data/upload/1/a.png", True),
        ("https://tools/label-studio", True),
        ("https://tools/label-studio-2/a.png", False),
        ("https://tools/other/a.png", False),
        ("https://tools/label-studio/../other/a.png", False),
        ("https://tools/label-studio/%2e%2e/other/a.png", False),
    ],
)
def test_other_programs_on_its_host_may_not(address, here):
    assert LabelStudio("https://tools/label-studio/", "x").is_here(address) is here


@given(st.text("@:/?#[]\\%.\t\r\n 08aehost", max_size=20))
def test_an_address_that_is_its_own_leads_to_itself(rest):
    label_studio = LabelStudio("http://host", "x")
    for address in (f"http://{rest}", f"http://{rest}@host/a", f"HTTP://host{rest}"):
        if label_studio.is_here(address):
            asked = requests.Request("GET", address).prepare().url
            with urllib3.PoolManager() as manager:
                connection = manager.connection_from_url(asked)
            assert (connection.scheme, connection.host, connection.port) == ("http", "host", 80)
