"""Which hosts Label Studio makes webhooks to; tests/e2e/test_webhooks.py asks the real one."""

import pytest

from ml_backend.connection.webhook_checks import is_host_for_webhooks, unannounced, webhook_fault

# what Django's URLValidator says of them, which validates a webhook's address in Label Studio
HOSTS = {
    "backend": False,
    "localhost": True,
    "localhost.": False,
    "backend.internal": True,
    "ml_backend.internal": False,
    "backend.label-studio.svc.cluster.local": True,
    "backend.b": False,
    "backend.1b": False,
    "backend.xn--p1ai": True,
    "backend-.internal": False,
    "backend..internal": False,
    "10.89.0.2": True,
    "10.89.0": False,
    "fd00::1": True,
    "": False,
}


@pytest.mark.parametrize(("host", "accepted"), HOSTS.items())
def test_hosts(host, accepted):
    assert is_host_for_webhooks(host) is accepted


HERE = "http://backend.internal:9090"
GOOD = {"url": "http://backend.internal:9090/webhook/", "send_for_all_actions": True}


@pytest.mark.parametrize(
    ("webhooks", "backends", "sentence"),
    [
        ([GOOD], [HERE], ""),
        ([GOOD], ["https://backend.internal:9090/"], ""),
        ([{**GOOD, "is_active": False}, GOOD], [HERE], ""),
        ([{**GOOD, "is_active": False}], [HERE], "the webhook is switched off"),
        ([], [HERE], "no webhook calls http://backend.internal:9090,"),
        # the login of a backend is a secret
        (
            [],
            ["https://label:SECRET@backend.internal/masks"],
            "no webhook calls https://backend.internal:443,",
        ),
        # which would be sent to the first of the two
        (
            [{**GOOD, "url": r"http://evil.com\@backend.internal:9090/webhook"}],
            [HERE],
            "no webhook calls http://backend.internal:9090,",
        ),
        # that of a backend that was connected before
        ([GOOD], ["http://moved.internal:9090"], "no webhook calls http://moved.internal:9090,"),
        # which of them is this one cannot be told
        ([GOOD], ["http://other.internal", HERE], ""),
        (
            [{**GOOD, "url": "http://third.internal/webhook"}],
            ["http://other.internal", HERE],
            "no webhook calls http://other.internal:80 or http://backend.internal:9090,",
        ),
        # called by another name: no webhook can have that of the container
        ([GOOD], ["http://backend:9090"], ""),
        ([GOOD], ["http://["], ""),
        ([], ["http://backend:9090"], "no webhook calls a backend,"),
        ([GOOD], [], ""),
        ([], [], "no webhook calls a backend,"),
        ([{**GOOD, "url": "http://archive.example.com/events"}], [], "no webhook calls a backend,"),
    ],
)
def test_what_a_project_lacks(webhooks, backends, sentence):
    lacking = unannounced(webhooks, [{"url": url} for url in backends], "7")
    assert lacking.startswith(sentence)
    assert ("diagnose --project 7" in lacking) == bool(sentence)


def test_actions_that_are_all_that_is_needed():
    actions = ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"]
    assert webhook_fault({**GOOD, "send_for_all_actions": False, "actions": actions}) == ""
    assert "leaves out ANNOTATION_CREATED" in webhook_fault(
        {**GOOD, "send_for_all_actions": False, "actions": actions[1:]}
    )
