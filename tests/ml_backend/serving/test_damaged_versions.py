"""Versions whose files are damaged or gone never answer, and those before them do."""

import re
from functools import partial
from pathlib import Path

import pytest

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
from training.store.live_pointer import SITE, roll_back


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_damaged_version_is_never_handed_out(versions, tmp_path, suffix):
    versions.register_base(checkpoint(tmp_path, "starter"))
    make_live(versions, publish(versions, tmp_path, "two", A), A)
    third = publish(versions, tmp_path, "three", A)
    versions.checkpoint(third).with_suffix(suffix).write_bytes(b"damaged")
    make_live(versions, third, A)
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "v2"
    assert "version 3 cannot be served" in pointer.problems()[0]
    versions.checkpoint(2).with_suffix(suffix).unlink()
    assert name(PointerFollower(versions, UNTRAINED), A) == "starter"


def test_a_file_that_cannot_be_read_holds_up_no_other_project(versions, tmp_path, monkeypatch):
    versions.register_base(checkpoint(tmp_path, "starter"))
    unreadable = publish(versions, tmp_path, "two", A)
    path = versions.checkpoint(unreadable)
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == name(pointer, B) == "starter"
    open_file = Path.open

    def fail_to_open(self, *arguments, **options):
        if self == path:
            raise OSError(5, "Input/output error", str(self))
        return open_file(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail_to_open)
    make_live(versions, unreadable, A)
    make_live(versions, publish(versions, tmp_path, "three", B), B)
    pointer.refresh()
    assert (name(pointer, A), name(pointer, B)) == ("starter", "v3")
    assert "Input/output error" in pointer.problems()[0]
    make_live(versions, unreadable)
    assert name(PointerFollower(versions, UNTRAINED), SITE) == "starter"


def test_a_version_that_was_mended_serves_again(versions, tmp_path, monkeypatch):
    versions.register_base(checkpoint(tmp_path, "starter"))
    second = publish(versions, tmp_path, "two", A)
    make_live(versions, second, A)
    weights = versions.checkpoint(second)
    whole = weights.read_bytes()
    weights.write_bytes(b"damaged")
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "starter"
    weights.write_bytes(whole)
    pointer.refresh()
    assert name(pointer, A) == "starter"  # it is not read again with every look
    monkeypatch.setattr(pointer_follower, "LOOK_AGAIN_SECONDS", 0)
    pointer.refresh()
    assert name(pointer, A) == "v2"
    assert pointer.problems() == []


def test_damage_that_is_still_there_is_logged_once(versions, tmp_path, monkeypatch, caplog):
    versions.register_base(checkpoint(tmp_path, "starter"))
    second = publish(versions, tmp_path, "two", A)
    make_live(versions, second, A)
    weights = versions.checkpoint(second)
    weights.write_bytes(b"damaged")
    monkeypatch.setattr(pointer_follower, "LOOK_AGAIN_SECONDS", 0)
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "starter"
    pointer.refresh()
    (sentence,) = said(caplog)
    assert "version 2 is not served" in sentence
    weights.unlink()
    pointer.refresh()
    assert "is missing" in said(caplog)[1]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [(3, []), (4, ["1 more version cannot be served"]), (6, ["3 more versions cannot be served"])],
)
def test_many_damaged_versions_are_counted(versions, tmp_path, damaged, told):
    versions.register_base(checkpoint(tmp_path, "starter"))
    numbers = [publish(versions, tmp_path, f"v{n}", A) for n in range(damaged)]
    for number in numbers:
        make_live(versions, number, A)
        versions.checkpoint(number).unlink()
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "starter"
    sentences = pointer.problems()
    first = [int(re.search("version ([0-9]+) cannot", one)[1]) for one in sentences[:3]]
    assert first == numbers[:-4:-1], "what is live comes first"
    assert sentences[3:] == told


def test_what_was_rolled_back_from_does_not_stand_in_for_what_is_damaged(versions, tmp_path):
    versions.register_base(checkpoint(tmp_path, "starter"))
    second, third = (publish(versions, tmp_path, name, A) for name in ("two", "three"))
    make_live(versions, second, A)
    make_live(versions, third, A)
    versions.move(partial(roll_back, project=A, mover=PERSON))
    versions.checkpoint(second).write_bytes(b"damaged")
    assert name(PointerFollower(versions, UNTRAINED), A) == "starter"


def test_damage_is_forgotten_once_nothing_points_there(versions, tmp_path):
    starter = versions.register_base(checkpoint(tmp_path, "starter"))
    second = publish(versions, tmp_path, "two", A)
    make_live(versions, second, A)
    versions.checkpoint(second).write_bytes(b"damaged")
    pointer = PointerFollower(versions, UNTRAINED)
    assert name(pointer, A) == "starter"
    pointer.refresh()
    assert len(pointer.problems()) == 1
    make_live(versions, starter, A)
    pointer.refresh()
    assert pointer.problems() == []
