import gc
import threading
from functools import partial

import pytest
from sqlalchemy import event

from ml_backend.errors import ModelError
from ml_backend.serving import pointer_follower
from ml_backend.serving.pointer_follower import PointerFollower
from tests.ml_backend.serving.live_versions import (
    PERSON,
    UNTRAINED,
    A,
    B,
    make_live,
    name,
    said,
)
from tests.training.version_files import checkpoint, publish
from tests.waiting import wait_until
from training.errors import DatabaseError
from training.store.live_pointer import SITE, roll_back
from training.store.version_rows import give_up_weights


def test_until_something_is_published_the_fallback_serves(versions):
    pointer = PointerFollower(versions, UNTRAINED)
    assert pointer.live(A) == pointer.live(SITE) == UNTRAINED
    assert pointer.names(A) == ["untrained"]


def test_projects_follow_their_own_pointer_or_the_site(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == name(pointer, B) == "starter"
    make_live(versions, publish(versions, tmp_path, "two", A), A)
    assert name(pointer, A) == "starter"  # from memory, until the next look
    pointer.refresh()
    assert (name(pointer, A), name(pointer, B)) == ("v2", "starter")
    assert [one.split("-")[0] for one in pointer.names(A)] == ["v2", "starter"]
    versions.move(partial(roll_back, project=A, mover=PERSON))
    pointer.refresh()
    assert name(pointer, A) == "starter"


def test_pointers_of_some_projects_only_are_followed(versions, tmp_path, monkeypatch):
    """Names of projects come from outside: the others are served with the site's version."""
    monkeypatch.setattr(pointer_follower, "MOST_PROJECTS", 2)
    versions.register_base(checkpoint(tmp_path, "starter"))
    for project in (A, B):
        make_live(versions, publish(versions, tmp_path, project, project), project)
    pointer = PointerFollower(versions, UNTRAINED)
    for _ in range(2):
        assert (name(pointer, A), name(pointer, B)) == ("v2", "starter")
        pointer.refresh()


def test_versions_whose_weights_were_swept_could_serve_nobody(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    swept = publish(versions, tmp_path, "two", A)
    versions.move(partial(give_up_weights, numbers=[swept]))
    pointer = PointerFollower(versions, UNTRAINED)
    assert [one.split("-")[0] for one in pointer.names(A)] == ["starter"]


def test_nor_do_they_stand_in_for_what_is_damaged(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    swept, damaged = (publish(versions, tmp_path, name, A) for name in ("two", "three"))
    for number in (swept, damaged):
        make_live(versions, number, A)
    versions.move(partial(give_up_weights, numbers=[swept]))
    versions.checkpoint(damaged).write_bytes(b"damaged")
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "starter"
    (problem,) = pointer.problems()
    assert f"version {damaged} cannot be served" in problem


def test_looking_at_many_projects_asks_the_database_once(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    make_live(versions, publish(versions, tmp_path, "two", A), A)
    pointer = PointerFollower(versions, UNTRAINED)
    for number in range(50):
        assert name(pointer, f"{number}.1") == "starter"
    assert name(pointer, A) == "v2"
    asked = asked_of(versions)
    pointer.refresh()
    assert len([one for one in asked if one.startswith("SELECT")]) == 1, asked


def test_the_first_click_of_a_project_does_not_wait_for_the_database(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    pointer = PointerFollower(versions, UNTRAINED)
    asked = asked_of(versions)
    assert name(pointer, A) == "starter"
    assert not asked


def asked_of(versions):
    """Statements that the database is asked from now on."""
    asked = []

    def count(connection, cursor, statement, *others):
        asked.append(statement)

    event.listen(versions._database._engine, "before_cursor_execute", count)
    return asked


def test_changes_are_seen_within_seconds_and_prepared_before(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "starter"
    prepared = []
    pointer.follow(lambda version: prepared.append((version.name, name(pointer, A))))
    make_live(versions, publish(versions, tmp_path, "two", A), A)
    wait_until(lambda: name(pointer, A) == "v2")
    assert [(new.split("-")[0], before) for new, before in prepared] == [("v2", "starter")]


@pytest.mark.parametrize(
    ("problem", "is_foreseen"),
    [
        (ModelError("version v2 cannot be loaded: the GPU is full"), True),
        (KeyError("of a mistake in this program"), False),
    ],
    ids=["foreseen", "unforeseen"],
)
def test_a_version_that_does_not_load_holds_up_no_other_project(
    versions, tmp_path, caplog, monkeypatch, problem, is_foreseen
):
    monkeypatch.setattr(pointer_follower, "POLL_SECONDS", 3600)  # nobody looks but this test
    versions.register_base(checkpoint(tmp_path, "starter"))
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == name(pointer, B) == "starter"

    def load(version):
        if version.name.startswith("v2"):
            raise problem

    pointer.follow(load)
    make_live(versions, publish(versions, tmp_path, "two", A), A)
    make_live(versions, publish(versions, tmp_path, "three", B), B)
    pointer.refresh()
    pointer.refresh()
    assert (name(pointer, A), name(pointer, B)) == ("starter", "v3")
    (said,) = (one for one in caplog.records if one.levelname == "WARNING")
    assert str(problem) in said.getMessage()
    assert bool(said.exc_info) is not is_foreseen


def test_a_store_that_hangs_holds_up_no_other_project(versions, tmp_path, monkeypatch):
    versions.register_base(checkpoint(tmp_path, "starter"))
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == name(pointer, B) == "starter"
    second, third = (publish(versions, tmp_path, name, p) for name, p in (("two", A), ("three", B)))
    answers, asked, read = threading.Event(), [], versions.checkpoint

    def read_late(number):
        asked.append(number)
        if number == second:
            answers.wait()
        return read(number)

    monkeypatch.setattr(versions, "checkpoint", read_late)
    monkeypatch.setattr(pointer_follower, "PATIENCE_SECONDS", 0.01)
    make_live(versions, second, A)
    make_live(versions, third, B)

    def follows(project, version):
        pointer.refresh()
        return name(pointer, project) == version

    wait_until(partial(follows, B, "v3"), every=0.01)
    pointer.refresh()
    assert name(pointer, A) == "starter"
    assert asked.count(second) == 1, "one thread waits, however often somebody looks"
    answers.set()
    wait_until(partial(follows, A, "v2"), every=0.01)


def test_a_store_that_hangs_from_the_start_is_waited_for_once(
    versions, tmp_path, monkeypatch, caplog
):
    versions.register_base(checkpoint(tmp_path, "starter"))
    make_live(versions, publish(versions, tmp_path, "two", A), A)
    answers, asked, read = threading.Event(), [], versions.checkpoint

    def read_late(number):
        asked.append(number)
        answers.wait()
        return read(number)

    monkeypatch.setattr(versions, "checkpoint", read_late)
    for patience in ("PATIENCE_SECONDS", "FIRST_PATIENCE_SECONDS"):
        monkeypatch.setattr(pointer_follower, patience, 0.01)
    pointer = PointerFollower(versions, UNTRAINED)
    for _ in range(3):
        assert {pointer.live(project) for project in (SITE, A, B)} == {UNTRAINED}
        pointer.refresh()
    assert len(set(said(caplog))) == len(said(caplog)) == 3
    assert sorted(asked) == [1, 2]
    answers.set()

    def follow():
        pointer.refresh()
        return [name(pointer, project) for project in (SITE, A, B)] == ["starter", "v2", "starter"]

    wait_until(follow, every=0.01)


def test_a_version_that_could_not_be_looked_at_is_looked_at_again(versions, tmp_path, monkeypatch):
    versions.register_base(checkpoint(tmp_path, "starter"))
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "starter"
    make_live(versions, publish(versions, tmp_path, "two", A), A)
    failures, read = [DatabaseError("the database is away")], versions.checkpoint

    def read_once_it_is_back(number):
        if failures:
            raise failures.pop()
        return read(number)

    monkeypatch.setattr(versions, "checkpoint", read_once_it_is_back)
    monkeypatch.setattr(pointer_follower, "PATIENCE_SECONDS", 10)
    pointer.refresh()
    assert name(pointer, A) == "starter"
    pointer.refresh()
    assert name(pointer, A) == "v2"


def test_while_the_database_is_away_what_is_live_stays_live(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    pointer = PointerFollower(versions, UNTRAINED)
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    versions._database.close()
    tmp_path.joinpath("state.db").mkdir()
    assert name(pointer, SITE) == name(pointer, A) == "starter"


def test_a_database_that_is_away_is_one_line_in_the_log(versions, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(pointer_follower, "POLL_SECONDS", 0.01)
    looks = []
    pointers = versions.pointers
    monkeypatch.setattr(versions, "pointers", lambda: (looks.append(1), pointers())[1])
    pointer = PointerFollower(versions, UNTRAINED)
    versions._database.close()
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    tmp_path.joinpath("state.db").mkdir()
    pointer.follow(repr)
    wait_until(lambda: len(looks) >= 5)
    (record,) = caplog.records
    assert "cannot be used" in record.getMessage()
    assert not record.exc_info


def test_the_end_of_an_outage_is_said(versions, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(pointer_follower, "POLL_SECONDS", 0.01)
    pointer = PointerFollower(versions, UNTRAINED)
    failures, pointers = [DatabaseError("the database is away")] * 2, versions.pointers

    def read_once_it_is_back():
        if failures:
            raise failures.pop()
        return pointers()

    monkeypatch.setattr(versions, "pointers", read_once_it_is_back)
    pointer.follow(repr)
    wait_until(lambda: len(caplog.records) == 2)
    assert caplog.messages == [
        "the live pointers cannot be read: the database is away",
        "the live pointers are read again",
    ]


def test_the_thread_ends_with_the_pointer(versions, monkeypatch):
    monkeypatch.setattr(pointer_follower, "POLL_SECONDS", 0.01)
    before = set(threading.enumerate())
    pointer = PointerFollower(versions, UNTRAINED)
    pointer.follow(repr)
    (thread,) = (
        one for one in threading.enumerate() if one.name == "live-pointer" and one not in before
    )
    del pointer

    def ended():
        gc.collect()
        return not thread.is_alive()

    wait_until(ended)
