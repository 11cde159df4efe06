"""Which Label Studio a project belongs to, and who gets which token."""

import threading

import pytest

from ml_backend.connection import connections as module
from ml_backend.connection.connections import Connections
from ml_backend.errors import LabelStudioError
from tests.ml_backend.stand_in import LEGACY_TOKEN, PERSONAL_TOKEN
from tests.waiting import PATIENCE, wait_until

PROJECT = "1.1795326988"


def test_environment_decides_where_it_is_set():
    connections = Connections("http://env:1", "env-key")
    connections.remember(PROJECT, "http://told:2", "told-token")
    label_studio = connections.label_studio(PROJECT)
    assert label_studio.url == "http://env:1"
    assert label_studio.tokens.header() == "Token env-key"


def test_address_of_the_environment_gets_the_token_that_setup_brought():
    connections = Connections("http://env:1", None)
    connections.remember(PROJECT, "http://told:2", "told-token")
    label_studio = connections.label_studio(PROJECT)
    assert label_studio.url == "http://env:1"
    assert label_studio.tokens.header() == "Token told-token"


def test_key_of_the_environment_never_goes_where_setup_points():
    connections = Connections(None, "env-key")
    connections.remember(PROJECT, "http://evil:2", "told-token")
    label_studio = connections.label_studio(PROJECT)
    assert label_studio.url == "http://evil:2"
    assert label_studio.tokens.header() == "Token told-token"


def test_projects_do_not_share_what_they_told():
    connections = Connections(None, None)
    connections.remember("1.1", "http://one:1", "one")
    connections.remember("2.2", "http://two:2", "two")
    assert connections.label_studio("1.1").url == "http://one:1"
    assert connections.label_studio("2.2").url == "http://two:2"
    assert connections.label_studio("3.3") is None


def test_client_is_kept_so_that_a_personal_token_is_exchanged_once(label_studio):
    connections = Connections(label_studio.url, PERSONAL_TOKEN)
    for _ in range(3):
        connections.label_studio(PROJECT).project(1)
    assert len(label_studio.paths("/api/token/refresh/")) == 1


def test_good_connection_is_asked_for_once_a_minute(label_studio):
    connections = Connections(label_studio.url, LEGACY_TOKEN)
    for _ in range(3):
        connections.check(PROJECT)
    assert len(label_studio.requests) == 1


def test_bad_connection_is_asked_for_every_time(label_studio):
    label_studio.legacy_tokens_enabled = False
    connections = Connections(label_studio.url, LEGACY_TOKEN)
    for _ in range(2):
        with pytest.raises(LabelStudioError, match="legacy token"):
            connections.check(PROJECT)
    label_studio.legacy_tokens_enabled = True
    connections.check(PROJECT)


def test_a_project_that_the_token_does_not_show_is_said_with_what_to_do(label_studio):
    connections = Connections(label_studio.url, LEGACY_TOKEN)
    advice = "has no project 7, .* use a token of a member of its organisation, and check LABEL_S"
    with pytest.raises(LabelStudioError, match=advice):
        connections.check("7.1795326988")


def test_a_connection_that_names_no_project_asks_for_none(label_studio):
    Connections(label_studio.url, LEGACY_TOKEN).check("")
    assert label_studio.requests == []


def test_slow_label_studio_gets_the_benefit_of_the_doubt_once(label_studio, monkeypatch):
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.05)
    connections = Connections(label_studio.url, LEGACY_TOKEN)
    client, release, asked = connections.label_studio(PROJECT), threading.Event(), []

    def slow(number):
        asked.append(number)
        assert release.wait(PATIENCE)
        raise LabelStudioError("it refused in the end")

    client.project = slow
    connections.check(PROJECT)
    connections.check(PROJECT)
    assert len(asked) == 1
    monkeypatch.setattr(module, "TRUSTED_SECONDS", 0)
    connections.check(PROJECT)  # what nobody answers for so long is asked anew
    wait_until(lambda: len(asked) == 2)
    release.set()
    with pytest.raises(LabelStudioError, match="in the end"):
        _until_it_raises(connections)


def _until_it_raises(connections):
    for _ in range(100):
        connections.check(PROJECT)


def test_page_sees_addresses_and_problems_but_no_token():
    connections = Connections(None, None)
    connections.remember(PROJECT, "http://told:2/", "told-token")
    connections.note_problem(PROJECT, "no brush")
    (line,) = connections.all()
    assert (line.project, line.address, line.problem) == (PROJECT, "http://told:2", "no brush")
    assert "told-token" not in repr(line)


def test_flood_of_projects_is_not_remembered(monkeypatch):
    monkeypatch.setattr(module, "MOST_PROJECTS", 2)
    connections = Connections(None, None)
    for number in range(5):
        connections.remember(f"{number}.1", "http://x", "t")
    assert len(connections.all()) == 2
