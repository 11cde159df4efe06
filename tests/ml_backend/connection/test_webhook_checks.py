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


GOOD = {"url": "http://backend.internal:9090/webhook/", "send_for_all_actions": True}


@pytest.mark.parametrize(
    ("webhooks", "sentence"),
    [
        ([GOOD], ""),
        ([{**GOOD, "is_active": False}, GOOD], ""),
        ([], "no webhook calls a backend"),
        ([{**GOOD, "url": "http://archive.example.com/events"}], "no webhook calls a backend"),
        ([{**GOOD, "is_active": False}], "the webhook is switched off"),
    ],
)
def test_what_a_project_lacks(webhooks, sentence):
    lacking = unannounced(webhooks, "7")
    assert lacking.startswith(sentence)
    assert ("diagnose --project 7" in lacking) == bool(sentence)


def test_actions_that_are_all_that_is_needed():
    actions = ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"]
    assert webhook_fault({**GOOD, "send_for_all_actions": False, "actions": actions}) == ""
    assert "leaves out ANNOTATION_CREATED" in webhook_fault(
        {**GOOD, "send_for_all_actions": False, "actions": actions[1:]}
    )
