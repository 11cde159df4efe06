"""Who decides on a page that is no longer true decides nothing: two people press, or one twice."""

import re
from functools import partial

import pytest

from tests.ml_backend.pages.reading import FORM, page
from tests.training.disc_project import PROJECT
from training.errors import VersionError
from training.live_pointer import Mover, promote
from training.model_versions import Candidate

ANN = Mover("ann", "")


@pytest.fixture
def third(learning):
    """A third version, live after the second."""
    versions = learning.stores.versions
    third = versions.publish(Candidate("a third", versions.checkpoint(1), project=PROJECT))
    for number in (2, third):
        versions.move(partial(promote, project=PROJECT, version=number, mover=ANN))
    return third


def form(client, button):
    """Return what the form of a button sends."""
    for found in re.findall(r"<form.*?</form>", page(client, "/projects/2")):
        if f">{button}</button>" in found:
            return dict(re.findall(r'name="(\w+)" value="(\w+)"', found))
    raise AssertionError(f"there is no button {button!r}")


def live(learning):
    return learning.stores.versions.live(PROJECT).version


def test_a_rollback_that_is_pressed_twice_goes_back_once(client, learning, third):
    sent = form(client, "Roll back to version 2")
    assert sent == {"move": "rollback", "live": str(third)}
    assert client.post("/projects/2/live", data=sent, headers=FORM).status_code == 303
    assert live(learning) == 2
    answer = client.post("/projects/2/live", data=sent, headers=FORM)
    assert (answer.status_code, live(learning)) == (409, 2)
    assert f"version 2 is live now, and no longer version {third}" in answer.text
    assert '<a href="/projects/2">Look again</a>' in answer.text
    assert form(client, "Roll back to version 1") == {"move": "rollback", "live": "2"}


@pytest.mark.parametrize("move", ["promote", "keep", "pin", "rollback"])
def test_nothing_is_decided_about_what_is_no_longer_live(client, learning, third, move):
    body = {"move": move, "live": 2} | ({"version": 2} if move in ("promote", "keep") else {})
    versions = learning.stores.versions
    before = versions.history(PROJECT), versions.answers([2])
    for answer in (
        client.post("/projects/2/live", data=body, headers=FORM),
        client.post("/api/projects/2/live", json=body),
        client.post("/api/site/live", json=body),
    ):
        assert answer.status_code == 409
        assert "no longer version 2" in answer.text
    assert len(versions.history(PROJECT)) == len(before[0])
    assert versions.answers([2]).keys() == before[1].keys()


def test_programs_may_say_what_they_saw(client, learning, third):
    body = {"move": "rollback", "live": third}
    assert client.post("/api/projects/2/live", json=body).json["live"]["version"] == 2
    answer = client.post("/api/projects/2/live", json={"move": "rollback", "live": "two"})
    assert (answer.status_code, "must be the number" in answer.json["error"]) == (400, True)


def test_whoever_is_overtaken_while_a_version_is_tried_moves_nothing(learning, third):
    versions = learning.stores.versions
    late = Mover("ann", "", saw=2)
    with pytest.raises(VersionError, match="no longer version 2"):
        versions.choose(PROJECT, 1, late)
    with pytest.raises(VersionError, match="no longer version 2"):
        versions.decline(PROJECT, 1, late)
    assert live(learning) == third
