from functools import partial

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from sqlalchemy.exc import IntegrityError

from tests.training.version_files import checkpoint, publish
from training.errors import VersionError
from training.moments import now
from training.store.database import Database
from training.store.live_pointer import SITE, Mover, pin, promote, roll_back, unpin
from training.store.model_versions import Candidate, ModelVersions, version_name
from training.store.stored_files import StoredFiles
from training.store.version_decisions import choose, decline
from training.store.version_rows import LiveMoveRow

PERSON = Mover("ann", "looks better")
GATE = Mover("gate", "12 % fewer clicks")
PROJECT, OTHER = "2.1795327560", "3.1795327999"


@pytest.fixture
def base(versions, tmp_path):
    return versions.register_base(checkpoint(tmp_path, "starter"))


def numbers(versions, *projects):
    return tuple(versions.live(project).version for project in projects)


def test_what_ships_is_version_1_and_live_everywhere(versions, base, tmp_path):
    assert numbers(versions, PROJECT, SITE) == (1, 1)
    assert versions.register_base(checkpoint(tmp_path, "starter")) == base == 1
    assert versions.checkpoint(1).read_bytes() == b"weights of starter"
    assert versions.checkpoint(1).with_suffix(".json").exists()


def test_a_newer_installation_replaces_the_default_unless_people_chose_one(
    versions, base, tmp_path
):
    assert versions.install(checkpoint(tmp_path, "starter-2")) == 2
    assert numbers(versions, SITE) == (2,)
    versions.move(partial(promote, project=SITE, version=1, mover=PERSON))
    versions.install(checkpoint(tmp_path, "starter-3"))
    assert numbers(versions, SITE) == (1,)
    versions.install(checkpoint(tmp_path, "starter-2"))
    assert numbers(versions, SITE) == (1,)


def test_an_installation_may_go_back_to_an_earlier_checkpoint(versions, tmp_path):
    installed = []
    for name in ("starter", "own", "own", "starter", "own"):
        versions.install(checkpoint(tmp_path, name))
        installed.append(*numbers(versions, SITE))
    assert installed == [1, 2, 2, 1, 2]
    assert len(versions.history(SITE)) == 4


def test_a_rollback_by_a_person_outlives_restarts(versions, base, tmp_path):
    versions.install(checkpoint(tmp_path, "own"))
    versions.move(partial(roll_back, project=SITE, mover=PERSON))
    versions.install(checkpoint(tmp_path, "own"))
    assert numbers(versions, SITE) == (1,)


def test_what_is_known_is_known_while_the_stored_files_are_away(versions, base, tmp_path):
    (tmp_path / "files").rename(tmp_path / "elsewhere")
    (tmp_path / "files").write_bytes(b"")
    assert versions.register_base(checkpoint(tmp_path, "starter")) == base
    assert versions.install(checkpoint(tmp_path, "starter")) == base
    with pytest.raises(VersionError, match="version 1 cannot be served"):
        versions.checkpoint(base)


def test_an_installation_mends_its_stored_files(versions, base, tmp_path):
    versions.checkpoint(base).write_bytes(b"damaged")
    versions.mend(base, checkpoint(tmp_path, "starter"))
    assert versions.is_whole(base)


def test_what_is_registered_after_the_first_does_not_go_live(versions, base, tmp_path):
    assert versions.register_base(checkpoint(tmp_path, "own")) == 2
    assert numbers(versions, SITE) == (1,)


def test_publishing_moves_nothing_and_happens_once(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    assert publish(versions, tmp_path, "12", project=PROJECT) == number == 2
    assert numbers(versions, PROJECT) == (1,)
    assert versions.get(2).parent == 1
    assert versions.made_by("job 12").number == 2
    assert version_name(versions.get(2)).startswith("v2-")


def test_two_processes_that_publish_the_same_at_once_get_the_same_number(tmp_path):
    candidate = Candidate("base of both", checkpoint(tmp_path, "starter"))
    faster = []

    class SlowFiles(StoredFiles):
        def write(self, key, content):
            if not faster:
                faster.append(None)
                faster[0] = versions.publish(candidate)
            super().write(key, content)

    database = Database(f"sqlite:///{tmp_path}/state.db")
    versions = ModelVersions(database, SlowFiles(tmp_path / "files", tmp_path / "downloads"))
    assert versions.publish(candidate) == faster[0] == 1
    database.close()


def test_children_of_a_version_are_those_that_a_project_may_use(versions, base, tmp_path):
    theirs = publish(versions, tmp_path, "12", project=PROJECT)
    others = publish(versions, tmp_path, "13", project=OTHER)
    everybodys = publish(versions, tmp_path, "14")
    assert versions.children(PROJECT, base) == [theirs, everybodys]
    assert versions.children(OTHER, base) == [others, everybodys]
    assert versions.children(OTHER, others) == []


def test_in_line_is_what_a_project_may_use_and_what_that_descends_from(versions, base, tmp_path):
    elder, elsewhere = (publish(versions, tmp_path, n, project=OTHER) for n in ("12", "13"))
    parent = publish(versions, tmp_path, "14", project=OTHER, parent=elder)
    theirs = publish(versions, tmp_path, "15", project=PROJECT, parent=parent)
    others_child = publish(versions, tmp_path, "16", project=OTHER, parent=theirs)
    in_line = {n for n in range(1, others_child + 1) if versions.is_in_line(PROJECT, n)}
    assert in_line == {base, elder, parent, theirs}
    versions.move(partial(promote, project=SITE, version=elsewhere, mover=PERSON))
    assert versions.is_in_line(PROJECT, elsewhere)
    assert not versions.is_in_line(PROJECT, 77)


def test_projects_are_served_by_their_own_version(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    assert versions.promote_if_live(PROJECT, number, 1, GATE)
    assert numbers(versions, PROJECT, OTHER, SITE) == (2, 1, 1)
    with pytest.raises(VersionError, match="made for another project"):
        versions.move(partial(promote, project=OTHER, version=2, mover=PERSON))
    assert versions.count_usable_by(SITE) == len(versions.usable_by(SITE))
    assert [row.number for row in versions.usable_by(PROJECT)] == [2, 1]
    assert [row.number for row in versions.usable_by(OTHER)] == [1]


def test_promoting_twice_is_promoting_once(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    assert versions.promote_if_live(PROJECT, number, 1, GATE)
    assert versions.promote_if_live(PROJECT, number, 1, GATE)
    assert len(versions.history(PROJECT)) == 1


def test_the_gate_does_not_undo_what_a_person_did_after_it_promoted(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    assert versions.promote_if_live(PROJECT, number, 1, GATE)
    versions.move(partial(roll_back, project=PROJECT, mover=PERSON))
    assert versions.promote_if_live(PROJECT, number, 1, GATE)
    assert numbers(versions, PROJECT) == (1,)


def test_what_a_person_tried_and_took_back_does_not_count_as_promoted(versions, base, tmp_path):
    number = publish(versions, tmp_path, "better", project=PROJECT)
    versions.move(partial(choose, project=PROJECT, number=number, mover=PERSON))
    versions.move(partial(roll_back, project=PROJECT, mover=PERSON))
    is_promoted = versions.promote_if_live(PROJECT, number, 1, GATE)
    assert is_promoted == (numbers(versions, PROJECT) == (number,))


def test_a_promotion_made_twice_takes_one_rollback(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    for _ in range(2):
        versions.move(partial(promote, project=PROJECT, version=number, mover=PERSON))
    versions.move(partial(roll_back, project=PROJECT, mover=PERSON))
    assert numbers(versions, PROJECT) == (1,)
    with pytest.raises(VersionError, match="no earlier version"):
        versions.move(partial(roll_back, project=PROJECT, mover=PERSON))


def test_a_candidate_compared_with_what_is_no_longer_live_is_not_promoted(versions, base, tmp_path):
    first, second = (publish(versions, tmp_path, name, project=PROJECT) for name in ("12", "13"))
    versions.move(partial(promote, project=PROJECT, version=first, mover=PERSON))
    assert not versions.promote_if_live(PROJECT, second, 1, GATE)
    assert numbers(versions, PROJECT) == (first,)


def test_the_gate_does_not_promote_what_a_person_decided_against(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT, verdict="promote")
    versions.move(partial(decline, project=PROJECT, number=number, mover=PERSON))
    assert not versions.promote_if_live(PROJECT, number, 1, GATE)
    assert numbers(versions, PROJECT) == (1,)


def test_a_pin_holds_against_candidates_until_a_person_acts(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    versions.move(partial(pin, project=PROJECT, mover=PERSON))
    assert not versions.promote_if_live(PROJECT, number, 1, GATE)
    versions.move(partial(unpin, project=PROJECT, mover=PERSON))
    assert versions.promote_if_live(PROJECT, number, 1, GATE)
    with pytest.raises(VersionError, match="nothing is pinned"):
        versions.move(partial(unpin, project=PROJECT, mover=PERSON))


@pytest.mark.parametrize("project", [PROJECT, SITE])
def test_pinning_what_is_pinned_already_is_no_other_move(versions, base, project):
    versions.move(partial(pin, project=SITE, mover=PERSON))
    for _ in range(2):
        versions.move(partial(pin, project=project, mover=PERSON))
    assert versions.history(project)[-1].move == "pin"
    assert len(versions.history(project)) == (1 if project else 2)
    with pytest.raises(VersionError, match="moved since you looked"):
        versions.move(partial(pin, project=project, mover=Mover("bob", "", saw=1)))


def test_a_project_that_was_pinned_while_it_followed_the_site_follows_it_again(
    versions, base, tmp_path
):
    number = publish(versions, tmp_path, "12")
    for _ in range(2):
        versions.move(partial(pin, project=PROJECT, mover=PERSON))
    versions.move(partial(promote, project=SITE, version=number, mover=PERSON))
    assert numbers(versions, PROJECT) == (base,)
    versions.move(partial(unpin, project=PROJECT, mover=PERSON))
    assert numbers(versions, PROJECT) == (number,)
    assert not versions.live(PROJECT).own
    with pytest.raises(VersionError, match="no earlier version"):
        versions.move(partial(roll_back, project=PROJECT, mover=PERSON))


def test_what_the_site_pinned_is_not_unpinned_by_a_project_that_follows_it(versions, base):
    versions.move(partial(pin, project=SITE, mover=PERSON))
    with pytest.raises(VersionError, match="nothing is pinned here"):
        versions.move(partial(unpin, project=PROJECT, mover=PERSON))
    assert versions.history(PROJECT) == []


@pytest.mark.parametrize(("owner", "whose"), [(SITE, "the site"), (PROJECT, "this project")])
def test_whoever_was_overtaken_is_told_by_whom_last(versions, base, owner, whose):
    seen = versions.live(PROJECT).state
    for act, project, by in ((pin, SITE, "bob"), (pin, PROJECT, "bob"), (unpin, owner, "eve")):
        versions.move(partial(act, project=project, mover=Mover(by, "")))
    with pytest.raises(VersionError, match=rf"last by eve \(unpin, for {whose}\)"):
        versions.move(partial(pin, project=PROJECT, mover=Mover("ann", "", saw=seen)))


@pytest.mark.parametrize(("before", "act"), [("promote", roll_back), ("pin", unpin)])
def test_of_two_who_undo_the_same_the_slower_is_told_of_the_faster(versions, base, before, act):
    undone = {"promote": partial(promote, version=base), "pin": pin}[before]
    versions.move(partial(undone, project=PROJECT, mover=PERSON))
    seen = versions.live(PROJECT).state
    versions.move(partial(act, project=PROJECT, mover=Mover("bob", "", saw=seen)))
    with pytest.raises(VersionError, match="was moved since you looked, last by bob"):
        versions.move(partial(act, project=PROJECT, mover=Mover("ann", "", saw=seen)))


def test_a_project_with_a_version_of_its_own_keeps_it_when_the_pin_is_taken_off(
    versions, base, tmp_path
):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    for act in (partial(promote, version=number), pin, unpin):
        versions.move(partial(act, project=PROJECT, mover=PERSON))
    assert numbers(versions, PROJECT) == (number,)
    versions.move(partial(roll_back, project=PROJECT, mover=PERSON))
    assert not versions.live(PROJECT).own


def test_a_version_that_serves_the_site_is_for_every_project(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT)
    versions.move(partial(promote, project=SITE, version=number, mover=PERSON))
    assert [row.number for row in versions.usable_by(OTHER)] == [number, base]
    versions.move(partial(promote, project=OTHER, version=number, mover=PERSON))
    versions.move(partial(promote, project=SITE, version=base, mover=PERSON))
    assert [row.number for row in versions.usable_by(OTHER)] == [number, base]
    assert [row.number for row in versions.usable_by("4.1")] == [base]


def test_rollbacks_walk_back_one_promotion_at_a_time(versions, base, tmp_path):
    first, second = (publish(versions, tmp_path, name, project=PROJECT) for name in ("12", "13"))
    for number in (first, second):
        versions.move(partial(promote, project=PROJECT, version=number, mover=GATE))
    back = partial(roll_back, project=PROJECT, mover=PERSON)
    versions.move(back)
    assert numbers(versions, PROJECT) == (first,)
    versions.move(back)
    assert numbers(versions, PROJECT) == (1,)
    assert not versions.live(PROJECT).own
    with pytest.raises(VersionError, match="no earlier version"):
        versions.move(back)
    versions.move(partial(promote, project=PROJECT, version=second, mover=PERSON))
    versions.move(partial(pin, project=PROJECT, mover=PERSON))
    versions.move(back)
    assert numbers(versions, PROJECT) == (1,)
    assert not versions.live(PROJECT).pinned


def test_the_site_never_rolls_back_to_nothing(versions, base):
    with pytest.raises(VersionError, match="no earlier version"):
        versions.move(partial(roll_back, project=SITE, mover=PERSON))


def test_two_movers_at_once_collide(versions, base, tmp_path):
    publish(versions, tmp_path, "12", project=PROJECT)

    def promote_with_a_number_that_is_taken(session):
        for _ in range(2):
            session.add(
                LiveMoveRow(
                    project=PROJECT, sequence=1, move="promote", version=2, pinned=False,
                    by="a", reason="b", at=now(),
                )
            )  # fmt: skip
            session.flush()
            session.expunge_all()

    with pytest.raises(IntegrityError):
        versions.move(promote_with_a_number_that_is_taken)
    assert numbers(versions, PROJECT) == (1,)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "removed"])
def test_damaged_files_are_never_handed_out(versions, base, suffix, damage):
    path = versions.checkpoint(base).with_suffix(suffix)
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"" if damage == "truncated" else b"?"))
    with pytest.raises(VersionError, match="version 1 cannot be served"):
        versions.checkpoint(base)
    assert not versions.is_whole(base)


def test_a_damaged_copy_of_remote_weights_is_fetched_again(tmp_path):
    files = StoredFiles(f"memory://{tmp_path.name}", tmp_path / "downloads")
    database = Database(f"sqlite:///{tmp_path}/state.db")
    versions = ModelVersions(database, files)
    number = versions.register_base(checkpoint(tmp_path, "starter"))
    for suffix in (".safetensors", ".json"):
        versions.checkpoint(number).with_suffix(suffix).write_bytes(b"damaged")
        assert versions.checkpoint(number).read_bytes() == b"weights of starter"
    database.close()
    MemoryFileSystem.store.clear()


def test_an_incomplete_checkpoint_is_not_published(versions, base, tmp_path):
    path = checkpoint(tmp_path, "half")
    path.with_suffix(".json").unlink()
    with pytest.raises(VersionError, match=r"half\.safetensors is not a complete checkpoint"):
        versions.publish(Candidate("job 14", path))


def test_what_people_answered_is_known(versions, base, tmp_path):
    number = publish(versions, tmp_path, "12", project=PROJECT, verdict="ask")
    versions.move(partial(decline, project=PROJECT, number=number, mover=PERSON))
    first = versions.answers([number])[number]
    assert first.answer == "kept"
    versions.move(
        partial(decline, project=PROJECT, number=number, mover=Mover("bob", "pressed it as well"))
    )
    again = versions.answers([number])[number]
    assert (again.id, again.by) == (first.id, "ann")
    versions.move(partial(choose, project=PROJECT, number=number, mover=PERSON))
    assert versions.answers([number])[number].answer == "promoted"
    with pytest.raises(VersionError, match="is live already"):
        versions.move(partial(decline, project=PROJECT, number=number, mover=PERSON))
    versions.move(partial(roll_back, project=PROJECT, mover=PERSON))
    versions.move(partial(decline, project=PROJECT, number=number, mover=PERSON))
    assert versions.answers([number])[number].answer == "kept"
    with pytest.raises(VersionError, match="no version 9"):
        versions.move(partial(decline, project=PROJECT, number=9, mover=PERSON))
