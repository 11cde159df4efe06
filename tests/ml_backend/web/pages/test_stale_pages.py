"""Who decides on a page that is no longer true decides nothing: two people press, or one twice."""

import re
from functools import partial

import pytest

from ml_backend.learning.live_moves import make_move
from tests.ml_backend.web.pages.reading import FORM, page
from tests.training.disc_project import PROJECT
from training.errors import VersionError
from training.store.live_pointer import SITE, Mover, pin, promote, roll_back, unpin
from training.store.model_versions import Candidate
from training.store.version_decisions import choose, decline

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


def counted_failures(client):
    lines = client.get("/metrics").text.splitlines()
    return [line for line in lines if line.startswith("icmformer_errors_total")]


def live(learning):
    return learning.stores.versions.live(PROJECT).version


def state(learning, project=PROJECT):
    return learning.stores.versions.live(project).state


def move(learning, *acts, project=PROJECT):
    """Let somebody else do this meanwhile."""
    for act in acts:
        learning.stores.versions.move(partial(act, project=project, mover=Mover("bob", "")))


def test_a_rollback_that_is_pressed_twice_goes_back_once(client, learning, third):
    sent = form(client, "Roll back to version 2")
    assert sent == {"move": "rollback", "state": str(state(learning))}
    assert client.post("/projects/2/live", data=sent, headers=FORM).status_code == 303
    assert live(learning) == 2
    answer = client.post("/projects/2/live", data=sent, headers=FORM)
    assert (answer.status_code, live(learning)) == (409, 2)
    assert "moved since you looked, last by somebody without a login (rollback, for this" in (
        answer.text
    )
    assert "and version 2 is live now: look again" in answer.text
    assert '<a href="/projects/2">Look again</a>' in answer.text
    assert form(client, "Follow the site again (version 1)")["state"] == str(state(learning))


@pytest.mark.parametrize("move", ["promote", "keep", "pin", "rollback"])
def test_nothing_is_decided_about_what_was_moved_meanwhile(client, learning, third, move):
    seen = {"move": move, "state": state(learning) - 1}
    body = seen | ({"version": 2} if move in ("promote", "keep") else {})
    versions = learning.stores.versions
    before = versions.history(PROJECT), versions.answers([2])
    for answer in (
        client.post("/projects/2/live", data=body, headers=FORM),
        client.post("/api/projects/2/live", json=body),
        client.post("/api/site/live", json=body),
    ):
        assert answer.status_code == 409
        assert "what is live was moved since you looked" in answer.text
    assert len(versions.history(PROJECT)) == len(before[0])
    assert versions.answers([2]).keys() == before[1].keys()


THERE_AND_BACK = (partial(promote, version=1), roll_back)


@pytest.mark.parametrize(
    ("acts", "told"),
    [
        ([pin], "last by bob (pin, for this project), and version {} is live and pinned now"),
        (THERE_AND_BACK, "last by bob (rollback, for this project), and version {} is live now"),
        ([pin, unpin], "last by bob (unpin, for this project), and version {} is live now"),
    ],
)
def test_a_pin_or_moves_there_and_back_are_noticed(client, learning, third, acts, told):
    sent = form(client, "Roll back to version 2")
    move(learning, *acts)
    moves = len(learning.stores.versions.history(PROJECT))
    answer = client.post("/projects/2/live", data=sent, headers=FORM)
    assert (answer.status_code, live(learning)) == (409, third)
    assert told.format(third) in answer.text
    assert len(learning.stores.versions.history(PROJECT)) == moves


def test_two_who_ask_for_a_job_one_after_the_other_get_one(client, learning):
    before = len(learning.jobs.of_project(PROJECT))
    assert client.post("/projects/2/jobs", headers=FORM).status_code == 303
    job = learning.jobs.claim("w").id
    assert client.post("/projects/2/jobs", headers=FORM).status_code == 303
    assert client.post("/api/projects/2/jobs", json={}).json["job"] == job
    assert len(learning.jobs.of_project(PROJECT)) == before + 1
    learning.jobs.fail(job, "w", "clean up")


def test_whoever_follows_the_site_decides_about_where_that_points(client, learning):
    sent = form(client, "Pin what is live")
    move(learning, partial(promote, version=2), roll_back, project=SITE)
    answer = client.post("/projects/2/live", data=sent, headers=FORM)
    assert answer.status_code == 409
    assert "last by bob (rollback, for the site), and version 1 is live now" in answer.text
    move(learning, partial(promote, version=2), roll_back)
    assert not learning.stores.versions.live(PROJECT).own
    states = [state(learning)]
    for act, project in ((pin, PROJECT), (partial(promote, version=1), SITE), (unpin, PROJECT)):
        move(learning, act, project=project)
        states.append(state(learning))
    assert states == sorted(set(states))


def test_programs_may_say_what_they_saw(client, learning, third):
    seen = client.get("/api/projects/2").json["live"]["state"]
    body = {"move": "rollback", "state": seen}
    assert client.post("/api/projects/2/live", json=body).json["live"]["version"] == 2
    failures = counted_failures(client)
    assert client.post("/api/projects/2/live", json=body).status_code == 409
    assert counted_failures(client) == failures, "of two who decide, one is meant to be refused"
    site = client.get("/api/projects").json["site"]["state"]
    assert client.post("/api/site/live", json={"move": "pin", "state": site}).status_code == 200
    move(learning, unpin, project=SITE)
    for damaged in ("two", None):
        answer = client.post("/api/projects/2/live", json={"move": "rollback", "state": damaged})
        assert (answer.status_code, "must be a whole number" in answer.json["error"]) == (400, True)


def test_whoever_is_overtaken_while_a_version_is_tried_moves_nothing(learning, third):
    versions = learning.stores.versions
    late = Mover("ann", "", saw=state(learning) - 1)
    with pytest.raises(VersionError, match="moved since you looked"):
        versions.move(partial(choose, project=PROJECT, number=1, mover=late))
    with pytest.raises(VersionError, match="moved since you looked"):
        versions.move(partial(decline, project=PROJECT, number=1, mover=late))
    assert live(learning) == third


def test_whoever_is_overtaken_while_it_is_found_out_where_back_is_goes_back_nowhere(
    learning, third, monkeypatch
):
    versions = learning.stores.versions
    seen, look = Mover("ann", "", saw=state(learning)), versions.rollback_target

    def overtaken(project):
        while versions.live(PROJECT).own:
            move(learning, roll_back)
        return look(project)

    monkeypatch.setattr(versions, "rollback_target", overtaken)
    with pytest.raises(VersionError, match=r"moved since you looked, last by bob \(rollback"):
        make_move(versions, PROJECT, "rollback", None, seen)


@pytest.mark.parametrize("damaged", ["", "7x", "-1", "²", "9" * 5000])
def test_a_state_that_cannot_be_read_guards_as_well(client, learning, third, damaged):
    sent = {**form(client, "Roll back to version 2"), "state": damaged}
    answer = client.post("/projects/2/live", data=sent, headers=FORM)
    assert (answer.status_code, live(learning)) == (400, third)
    assert "&#34;state&#34; must be a whole number" in answer.text
