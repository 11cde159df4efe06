"""A backend with a login makes Label Studio send it with webhooks, too."""

import threading

import pytest

from ml_backend.app import create_app
from ml_backend.auth import authorization_header
from ml_backend.settings import Settings
from tests.ml_backend.label_studio_requests import recorded, recorded_setup
from tests.waiting import PATIENCE

HEADER = authorization_header("ann", "secret")
LOGIN = {"Authorization": HEADER}


def webhook(number, url, **about):
    return {"id": number, "url": url, "headers": {}, "send_for_all_actions": True, **about}


@pytest.fixture
def guarded(settings):
    login = {"basic_auth_user": "ann", "basic_auth_pass": "secret"}
    return create_app(Settings(**{**settings.model_dump(), **login}))


def connect(app, headers=LOGIN, address="http://backend:9090"):
    """Connect as Label Studio does, and wait for what that began in the background."""
    client = app.test_client()
    answer = client.post("/setup", json=recorded_setup(), headers=headers, base_url=address)
    assert answer.status_code == 200, answer.text
    for thread in threading.enumerate():
        if thread.name == "webhook":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_header_is_set_on_our_webhook_alone_and_keeps_others(guarded, label_studio):
    label_studio.webhooks = [
        webhook(1, "http://elsewhere/webhook"),
        webhook(2, "http://backend:9090/webhook", headers={"X-Team": "7"}),
    ]
    connect(guarded)
    assert label_studio.webhooks[0]["headers"] == {}
    assert label_studio.webhooks[1]["headers"] == {"X-Team": "7", "Authorization": HEADER}
    event = recorded("webhook_ANNOTATION_CREATED")
    client = guarded.test_client()
    headers = label_studio.webhooks[1]["headers"]
    assert client.post("/webhook", json=event, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://backend:9090", "http://BackEnd:9090/webhook"),
        ("http://backend", "http://backend:80/webhook"),
        ("http://backend:443", "https://backend/webhook/"),
    ],
)
def test_one_address_may_be_written_in_several_ways(guarded, label_studio, address, url):
    label_studio.webhooks = [webhook(1, "http://[/webhook"), webhook(2, url)]
    connect(guarded, address=address)
    assert label_studio.webhooks[1]["headers"] == LOGIN


def test_another_service_of_the_same_host_does_not_get_the_login(guarded, label_studio):
    label_studio.webhooks = [
        webhook(1, "http://tools/sam/webhook", headers={"Authorization": "theirs"}),
        webhook(2, "http://tools/icmformer/webhook"),
        webhook(3, "http://tools/icmformer/webhook/"),
    ]
    connect(guarded, address="http://tools/icmformer")
    headers = [one["headers"]["Authorization"] for one in label_studio.webhooks]
    assert headers == ["theirs", HEADER, HEADER]


def test_behind_a_proxy_that_changes_the_host_the_only_backend_is_ours(guarded, label_studio):
    label_studio.webhooks = [
        webhook(1, "http://elsewhere/webhook"),
        webhook(2, "https://masks.example.com/icm/webhook"),
    ]
    label_studio.ml_backends = [{"id": 1, "url": "https://masks.example.com/icm/"}]
    connect(guarded)
    assert [one["headers"] for one in label_studio.webhooks] == [{}, LOGIN]


def test_no_other_backend_is_given_the_login(guarded, label_studio, caplog):
    others = ("http://ann:SECRET@elsewhere/webhook", "https://chat.example/services/T0/SECRET", "?")
    label_studio.webhooks = [webhook(number, url) for number, url in enumerate(others)]
    label_studio.ml_backends = [{"id": n, "url": f"http://{n}.example.com"} for n in (1, 2)]
    connect(guarded)
    seen = "http://elsewhere:80, https://chat.example:443, no address"
    assert f"calls backend:9090 yet: {seen}\n" in caplog.text
    assert "SECRET" not in caplog.text
    assert [one["headers"] for one in label_studio.webhooks] == [{}, {}, {}]


def test_webhook_that_appears_later_is_found_at_the_next_setup(guarded, label_studio):
    connect(guarded)
    # … and found again after somebody deleted it and connected the backend once more.
    for number in (2, 3):
        label_studio.webhooks = [webhook(number, "http://backend:9090/webhook")]
        connect(guarded)
        assert label_studio.webhooks[0]["headers"] == {"Authorization": HEADER}


def test_header_that_is_right_is_left_alone(guarded, label_studio):
    label_studio.webhooks = [webhook(2, "http://backend:9090/webhook", headers=dict(LOGIN))]
    connect(guarded)
    connect(guarded)
    assert not [verb for verb, _, _ in label_studio.requests if verb == "PATCH"]


def test_without_a_login_nothing_is_changed(app, label_studio):
    label_studio.webhooks = [webhook(2, "http://backend:9090/webhook")]
    connect(app, {})
    assert label_studio.paths("webhooks") == []


def test_refused_webhook_shows_on_the_page(guarded):
    client = guarded.test_client()
    assert client.post("/webhook", json=recorded("webhook_ANNOTATION_CREATED")).status_code == 401
    failures = client.get("/", headers=LOGIN).text.partition("<h2>Last failures</h2>")[2]
    assert "came without the right login" in failures
