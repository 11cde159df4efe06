"""Bodies that Label Studio sends are read; others are refused with a sentence."""

import json

import pytest

from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import (
    read_predict,
    read_setup,
    read_webhook,
    task_number,
)


def body(**values):
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"7", b'"text"', b"true", b"[" * 100_000],
    ids=["empty", "cut", "binary", "null", "list", "number", "text", "boolean", "deep"],
)
@pytest.mark.parametrize("read", [read_setup, read_predict, read_webhook])
def test_anything_but_an_object_is_refused(read, data):
    with pytest.raises(RequestError, match="request body"):
        read(data)


def test_parser_message_does_not_quote_the_body():
    with pytest.raises(RequestError) as caught:
        read_setup(b'{"access_token": "secret-token" oops')
    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tasks": None},
        {"tasks": "x"},
        {"tasks": {"id": 1}},
        {"tasks": [1]},
        {"tasks": [None]},
        {"tasks": [], "params": [1]},
        {"tasks": [], "params": {"context": "x"}},
        {"tasks": [], "params": {"context": {"result": []}}},
        {"tasks": [{}, {}], "params": {"context": {"result": []}}},
        {"tasks": [{}], "label_config": 7},
    ],
)
def test_predict_with_wrong_types_is_refused(values):
    with pytest.raises(RequestError):
        read_predict(body(**values))


def test_predict_without_context_is_a_batch():
    request = read_predict(body(tasks=[{}, {}], project="2.1795327560", params={"context": None}))
    assert request.context is None
    assert request.project == "2.1795327560"
    assert len(request.tasks) == 2


def test_setup_hides_the_token_from_logs():
    request = read_setup(body(project="1.2", schema="<View/>", hostname=" h ", access_token="tok"))
    assert request.hostname == "h"
    assert request.access_token == "tok"
    assert "tok" not in repr(request)


@pytest.mark.parametrize("key", ["hostname", "access_token"])
def test_what_is_kept_of_each_connection_is_no_longer_than_it_ever_is(key):
    assert len(getattr(read_setup(body(**{key: "h" * 2000 + " "})), key)) == 2000
    with pytest.raises(RequestError, match=f'"{key}" has more than 2000 letters'):
        read_setup(body(**{key: "h" * 2001}))


def test_webhook_needs_an_action():
    for values in ({}, {"action": None}, {"action": ""}, {"action": 3}):
        with pytest.raises(RequestError, match="action"):
            read_webhook(body(**values))


def test_webhook_hides_the_token_from_logs():
    event = read_webhook(body(action="START_TRAINING", project={"id": 2, "token": "tok"}))
    assert (event.action, event.payload["project"]["token"]) == ("START_TRAINING", "tok")
    assert "tok" not in repr(event)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("2.1795327560", "2.1795327560"),
        ("17", "17"),
        ({"id": 2, "created_at": "2026-11-22T06:06:00.942531Z"}, "2.1795327560"),
        ({"id": 2}, "2"),
        ({"id": 2, "created_at": "0001-01-01T00:00:00"}, "2"),
        (None, ""),
        (True, ""),
        ([1], ""),
        ("../etc", ""),
        ("2.\nmask task=1", ""),
        ("", ""),
        ("²", ""),
    ],
)
def test_project_is_known_by_a_harmless_key(value, key):
    assert read_setup(body(project=value)).project == key


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (9, "9"),
        ("9", "9"),
        ("a-b_c", "a-b_c"),
        (None, "?"),
        (True, "?"),
        ({}, "?"),
        ("", "?"),
        ("9\nmask task=1", "9masktask1"),
        ("x" * 100, "x" * 40),
    ],
)
def test_task_number_is_safe_in_a_log_line(value, number):
    assert task_number({"id": value}) == number


def test_half_a_character_is_refused():
    with pytest.raises(RequestError, match='"schema" is not valid Unicode'):
        read_setup(b'{"schema": "<View>\\ud800</View>"}')
    with pytest.raises(RequestError, match='"action" is not valid Unicode'):
        read_webhook(b'{"action": "\\ud800"}')
