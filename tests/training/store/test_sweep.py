"""What of the stored files goes when somebody tidies up, and what stays."""

import contextlib
import json
import os
import time
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from tests.training import version_files
from training.errors import FileStoreError, VersionError
from training.store.database import Database
from training.store.installation import begin_installation
from training.store.live_pointer import SITE, Mover, pin, roll_back, unpin
from training.store.model_versions import ModelVersions
from training.store.object_mask import AcceptedObject, ObjectMask
from training.store.sample_files import SampleFiles
from training.store.samples import Annotation, SampleStore
from training.store.split import image_hash
from training.store.stored_files import StoredFiles
from training.store.stores import Stores
from training.store.sweep import Swept, sweep
from training.store.version_decisions import choose, decline
from training.store.version_reports import store_report

PROJECT, OTHER = "2.1795327560", "3.1795327999"


@pytest.fixture
def stores(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    files = StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")
    SampleStore(database, files)
    stores = Stores(database, files, ModelVersions(database, files))
    begin_installation(database, files)
    yield stores
    database.close()


def photo(grey=7):
    return np.full((40, 60, 3), grey, dtype=np.uint8)


def accept(stores, annotation, *lefts, project=PROJECT, second=0, grey=7):
    """Accept squares on one photo, by default the same for all annotations."""
    masks = [np.zeros((40, 60), dtype=bool) for _ in lefts]
    for mask, left in zip(masks, lefts, strict=True):
        mask[5:25, left : left + 10] = True
    objects = tuple(AcceptedObject(f"r{n}", "disc", ObjectMask.of(m)) for n, m in enumerate(masks))
    SampleStore(stores.database, stores.files).replace(
        Annotation(
            project=project,
            annotation=annotation,
            task=annotation,
            updated_at=datetime(2026, 11, 22, 6, 0, second, tzinfo=UTC),
            status="accepted",
            image=photo(grey),
            objects=objects,
        )
    )


def report_of(name, **pairs):
    """Return a report that shows pairs of these photos, of one grey each."""
    shown = {
        side: [{"name": f"{image_hash(photo(grey))}#mask", "truth": f"{grey}"} for grey in greys]
        for side, greys in pairs.items()
    }
    return json.dumps({"curves": {"held_out": name}, **shown}).encode()


def publish(stores, tmp_path, name, project=PROJECT, **judged):
    report = stores.files.put("reports", ".json", report_of(name))
    return version_files.publish(
        stores.versions, tmp_path, name, project=project, report=report, **judged
    )


def age(tmp_path, minutes=120):
    """Make every stored file two hours old, or as old as is said."""
    for path in (tmp_path / "files").rglob("*"):
        os.utime(path, (time.time() - 60 * minutes,) * 2)


def kept(stores, folder):
    return len(stores.files.keys(folder))


def test_files_of_withdrawn_samples_go_and_those_of_others_stay(stores, tmp_path):
    accept(stores, 1, 0, 20)
    accept(stores, 2, 0, project=OTHER)
    age(tmp_path)
    assert sweep(stores) == Swept(deleted=0, young=0)
    SampleStore(stores.database, stores.files).withdraw(PROJECT, [1])
    assert sweep(stores) == Swept(deleted=1, young=0)
    assert (kept(stores, "images"), kept(stores, "masks")) == (1, 1)
    SampleStore(stores.database, stores.files).withdraw(OTHER, [2])
    assert sweep(stores) == Swept(deleted=2, young=0)


def test_what_is_young_or_stored_again_waits_for_who_may_refer_to_it(stores, tmp_path):
    mask = np.eye(40, 60, dtype=bool)
    files = SampleFiles(stores.files)
    files.write_mask(mask)
    age(tmp_path, minutes=50)
    assert sweep(stores) == Swept(deleted=0, young=1)
    age(tmp_path)
    content_hash = files.write_mask(mask)
    assert sweep(stores) == Swept(deleted=0, young=1)
    assert files.read_mask(content_hash).sum() == mask.sum()


def test_what_a_killed_writer_left_goes(stores, tmp_path):
    accept(stores, 1, 0)
    half = tmp_path / "files" / "masks" / "ab" / ".abc.png.0123"
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_bytes(b"half")
    age(tmp_path)
    assert sweep(stores) == Swept(deleted=1, young=0)
    assert not half.exists()


def test_weights_of_old_versions_go_where_that_is_asked_for(stores, tmp_path):
    for name in ("starter", "another"):
        publish(stores, tmp_path, name, project=None)
    numbers = [publish(stores, tmp_path, f"v{n}") for n in range(4)]
    others = publish(stores, tmp_path, "of another", project=OTHER)
    stores.versions.move(
        partial(choose, project=PROJECT, number=numbers[0], mover=Mover("ann", "looks better"))
    )
    age(tmp_path)
    assert sweep(stores) == Swept(deleted=0, young=0)
    assert sweep(stores, newest_versions=1) == Swept(deleted=4, young=0)
    whole = [number for number in range(1, 8) if stores.versions.is_whole(number)]
    assert whole == [1, 2, numbers[0], numbers[3], others]
    assert kept(stores, "reports") == 7
    assert stores.versions.get(numbers[1]).origin == "job v1"


def test_weights_that_were_live_go_unless_they_are_or_a_rollback_leads_to_them(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    versions, ann = stores.versions, Mover("ann", "")
    first, before, live, newest = (publish(stores, tmp_path, f"v{n}") for n in range(4))
    sites, others = (publish(stores, tmp_path, name, project=OTHER) for name in ("a", "b"))
    for project, number in (
        (SITE, 1), (PROJECT, first), (PROJECT, before), (PROJECT, live), (SITE, sites),
        (SITE, others), (SITE, 1),
    ):  # fmt: skip
        versions.move(partial(choose, project=project, number=number, mover=ann))
    versions.move(partial(pin, project=PROJECT, mover=ann))
    versions.move(partial(pin, project=OTHER, mover=ann))
    age(tmp_path)
    assert sweep(stores, newest_versions=1) == Swept(deleted=4, young=0)
    gone = {number for number in range(1, others + 1) if versions.get(number).is_swept}
    assert gone == {first, sites}
    assert versions.is_whole(newest)
    versions.move(partial(unpin, project=PROJECT, mover=ann))
    versions.move(partial(roll_back, project=PROJECT, mover=ann))
    assert versions.live(PROJECT).version == before


def test_rollbacks_step_over_what_was_swept_until_the_site_is_followed_again(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    versions, ann = stores.versions, Mover("ann", "")
    own = [publish(stores, tmp_path, f"v{n}") for n in range(4)]
    moves = [partial(choose, project=SITE, number=1)]
    moves += [partial(choose, project=PROJECT, number=n) for n in (*own[:2], 1, own[2], 1, own[3])]
    for move in moves:
        versions.move(partial(move, mover=ann))
    sweep(stores, newest_versions=1)
    assert [versions.get(number).is_swept for number in own] == [True, True, True, False]
    assert versions.way_back(PROJECT) == [own[3], 1]
    assert versions.rollback_target(PROJECT) == (1, False)
    back = partial(roll_back, project=PROJECT, mover=ann)
    versions.move(back)
    assert (versions.live(PROJECT).version, versions.live(PROJECT).own) == (1, True)
    assert versions.rollback_target(PROJECT) == (1, True)
    versions.move(back)
    assert (versions.live(PROJECT).version, versions.live(PROJECT).own) == (1, False)
    with pytest.raises(VersionError, match="no earlier version"):
        versions.move(back)
    versions.move(partial(choose, project=PROJECT, number=own[3], mover=ann))
    assert versions.way_back(PROJECT) == [own[3]]


def test_no_rollback_leads_to_what_a_rollback_left(stores, tmp_path):
    """Also where that was made live again, or pinned, and what lay between was swept."""
    versions, ann = stores.versions, Mover("ann", "")
    first, left = (publish(stores, tmp_path, name, project=None) for name in ("first", "left"))
    between, newest = (publish(stores, tmp_path, name) for name in ("between", "newest"))
    for number in (first, left, between, left, left, newest):
        versions.move(partial(choose, project=PROJECT, number=number, mover=ann))
    for decision in (pin, unpin):
        versions.move(partial(decision, project=PROJECT, mover=ann))
    sweep(stores, newest_versions=1)
    ways = [versions.way_back(PROJECT)]
    for _ in range(2):
        versions.move(partial(roll_back, project=PROJECT, mover=ann))
        ways.append(versions.way_back(PROJECT))
    assert ways == [[newest, left, first], [left, first], [first]]


def test_the_site_goes_back_to_nothing_that_was_swept(stores, tmp_path):
    versions, ann = stores.versions, Mover("ann", "")
    own = [publish(stores, tmp_path, f"v{n}") for n in range(3)]
    for number in own:
        versions.move(partial(choose, project=SITE, number=number, mover=ann))
    sweep(stores, newest_versions=1)
    versions.move(partial(roll_back, project=SITE, mover=ann))
    assert versions.live(SITE).version == own[1]
    with pytest.raises(VersionError, match="no earlier version"):
        versions.move(partial(roll_back, project=SITE, mover=ann))


def test_weights_that_wait_for_a_decision_stay(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    stores.versions.move(partial(choose, project="", number=1, mover=Mover("ann", "")))
    asked, better, overtaken, kept_back, newest = (
        publish(stores, tmp_path, name, verdict=verdict, scores={"compared_with": with_which})
        for name, verdict, with_which in (
            ("asked", "ask", 1),
            ("better", "promote", 1),
            ("overtaken", "ask", 99),
            ("kept", "keep", 1),
            ("newest", "keep", 1),
        )
    )
    age(tmp_path)
    assert sweep(stores, newest_versions=1) == Swept(deleted=4, young=0)
    gone = {number for number in range(1, newest + 1) if stores.versions.get(number).is_swept}
    assert gone == {overtaken, kept_back}
    stores.versions.move(partial(decline, project=PROJECT, number=asked, mover=Mover("ann", "no")))
    assert sweep(stores, newest_versions=1) == Swept(deleted=2, young=0)
    assert stores.versions.is_whole(better)


def test_what_was_swept_is_neither_damaged_nor_waited_for_and_goes_live_no_more(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    stores.versions.move(partial(choose, project="", number=1, mover=Mover("ann", "")))
    judged = {"verdict": "ask", "scores": {"compared_with": 99}}
    swept, _ = (publish(stores, tmp_path, name, **judged) for name in ("old", "new"))
    age(tmp_path)
    sweep(stores, newest_versions=1)
    assert swept not in stores.versions.open_decisions().superseded
    with pytest.raises(VersionError, match="its weights were deleted by sweep"):
        stores.versions.checkpoint(swept)
    with pytest.raises(VersionError, match="its weights were deleted by sweep"):
        stores.versions.move(
            partial(choose, project=PROJECT, number=swept, mover=Mover("ann", "too late"))
        )


def test_weights_that_somebody_else_deleted_are_missing(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    stores.versions.checkpoint(1).unlink()
    with pytest.raises(VersionError, match="is missing from the stored files"):
        stores.versions.checkpoint(1)


def shown_report(stores, tmp_path, name, **pairs):
    """Publish a version whose report shows these photos; return its number."""
    key = stores.files.put("reports", ".json", report_of(name, **pairs))
    return version_files.publish(stores.versions, tmp_path, name, PROJECT, report=key)


def stored_report(stores, number):
    return stores.files.read_verified(stores.versions.get(number).report)


def test_reports_show_withdrawn_images_no_more(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    accept(stores, 1, 0, grey=1)
    accept(stores, 2, 0, grey=2)
    accept(stores, 3, 0, grey=2, project=OTHER)
    number = shown_report(stores, tmp_path, "both", improved=[1, 2], worse=[1])
    other = shown_report(stores, tmp_path, "one", improved=[2], worse=[])
    key = stores.versions.get(other).report
    age(tmp_path)
    assert sweep(stores) == Swept(deleted=0, young=0)
    SampleStore(stores.database, stores.files).withdraw(PROJECT, [1, 2])
    assert sweep(stores) == Swept(deleted=2, young=0)
    assert stored_report(stores, number) == report_of("both", improved=[2], worse=[])
    assert stores.versions.get(other).report == key
    assert sweep(stores) == Swept(deleted=0, young=0)
    SampleStore(stores.database, stores.files).withdraw(OTHER, [3])
    assert sweep(stores) == Swept(deleted=3, young=1)
    assert stored_report(stores, number) == report_of("both", improved=[], worse=[])
    assert stored_report(stores, other) == report_of("one", improved=[], worse=[])


def test_a_young_report_is_shown_no_more_at_once_and_goes_when_it_is_older(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    number = shown_report(stores, tmp_path, "of nobody's image", improved=[1])
    assert sweep(stores) == Swept(deleted=0, young=1)
    assert stored_report(stores, number) == report_of("of nobody's image", improved=[])
    age(tmp_path)
    assert sweep(stores) == Swept(deleted=1, young=0)
    assert kept(stores, "reports") == 2


def test_a_damaged_report_goes_and_one_that_is_not_there_is_still_expected(stores, tmp_path):
    publish(stores, tmp_path, "starter", project=None)
    damaged, missing = (shown_report(stores, tmp_path, name, worse=[1]) for name in "ab")
    paths = [tmp_path / "files" / stores.versions.get(n).report for n in (damaged, missing)]
    paths[0].write_bytes(paths[0].read_bytes()[:-9])
    paths[1].rename(tmp_path / "away")
    age(tmp_path)
    assert sweep(stores) == Swept(deleted=1, young=0)
    assert stores.versions.get(damaged).report is None
    (tmp_path / "away").rename(paths[1])
    sweep(stores)
    assert stored_report(stores, missing) == report_of("b", worse=[])


def test_a_report_that_cannot_be_read_is_told_once_all_that_can_go_is_gone(stores, tmp_path):
    accept(stores, 1, 0, grey=1)
    shown = [shown_report(stores, tmp_path, name, improved=[1]) for name in "abc"]
    paths = [tmp_path / "files" / stores.versions.get(number).report for number in shown]
    SampleStore(stores.database, stores.files).withdraw(PROJECT, [1])
    age(tmp_path)
    SampleFiles(stores.files).write_mask(np.eye(40, 60, dtype=bool))  # young
    for path in paths[:2]:
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path)  # listed like a file, and not to be read
    problem = "^3 files deleted, but 2 reports may still show .*json cannot be read: .*directory"
    with pytest.raises(FileStoreError, match=problem):
        sweep(stores)
    assert (kept(stores, "images"), kept(stores, "masks")) == (0, 1)
    assert stored_report(stores, shown[2]) == report_of("c", improved=[])
    for path in paths[:2]:
        path.unlink()
        (tmp_path / path.name).rename(path)
    assert sweep(stores).deleted == 2
    assert stored_report(stores, shown[0]) == report_of("a", improved=[])


@pytest.mark.parametrize("whose", ["nobody's", "another's, that began with the same weights"])
def test_nothing_goes_where_nothing_is_of_this_installation(stores, tmp_path, whose):
    weights = version_files.checkpoint(tmp_path, "starter")
    stores.versions.register_base(weights)
    older = publish(stores, tmp_path, "a")
    publish(stores, tmp_path, "b")
    (tmp_path / "files").rename(tmp_path / "not mounted")
    (tmp_path / "files").mkdir()
    if whose != "nobody's":
        other = Database(f"sqlite:///{tmp_path}/other.db")
        ModelVersions(other, stores.files).register_base(weights)
        other.close()
    stores.files.put("images", ".png", b"that only another database knows")
    with contextlib.suppress(FileStoreError):
        stores.versions.mend(1, weights)  # as every start of serve does
    age(tmp_path)
    with pytest.raises(FileStoreError, match="nothing there is of this installation"):
        sweep(stores, newest_versions=1)
    assert kept(stores, "images") == 1
    assert not stores.versions.get(older).is_swept


def test_nothing_goes_that_a_new_database_does_not_know(stores, tmp_path):
    stores.files.put("images", ".png", b"that another database knows")
    age(tmp_path)
    database = Database(f"sqlite:///{tmp_path}/mistyped.db")
    mistaken = Stores(database, stores.files, ModelVersions(database, stores.files))
    with pytest.raises(FileStoreError, match="this database knows of no stored files"):
        sweep(mistaken)
    database.close()
    assert kept(stores, "images") == 1


def test_a_report_is_stored_without_what_was_withdrawn_while_it_was_made(stores):
    accept(stores, 1, 0, grey=1)
    key = store_report(stores, json.loads(report_of("new", improved=[1, 2], worse=[2])))
    assert stores.files.read(key) == report_of("new", improved=[1], worse=[])
