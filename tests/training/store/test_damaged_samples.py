import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.training.store.accepted_annotations import (
    PROJECT,
    accepted,
    contents,
    photo,
    row_ids,
)
from tests.training.version_files import checkpoint
from training.errors import FileStoreError
from training.moments import now
from training.store import sample_files, samples
from training.store.damaged_samples import set_aside_damaged
from training.store.database import Database
from training.store.installation import begin_installation
from training.store.model_versions import ModelVersions
from training.store.sample_rows import AnnotationRow, SampleRow, usable_samples
from training.store.snapshot import take_snapshot
from training.store.split import image_hash
from training.store.stores import Stores


@pytest.fixture
def set_aside(database, files):
    stores = Stores(database, files, ModelVersions(database, files))
    begin_installation(database, files)

    def set_aside(images=None, report=lambda done, total: None):
        images = take_snapshot(database, PROJECT).images() if images is None else images
        return set_aside_damaged(stores, PROJECT, images, report)

    return set_aside


def test_damaged_files_are_taken_out_and_the_same_message_brings_them_back(
    store, database, tmp_path, set_aside
):
    store.replace(accepted(4, image=1))
    store.replace(accepted(5, image=2, lefts=(2, 7)))
    before = contents(database)
    kept = image_hash(photo(1))
    for file in (tmp_path / "files" / "images").rglob("*.png"):
        if file.stem != kept:
            file.unlink()
    assert set_aside() == 1
    with database.read() as session:
        row = session.get(AnnotationRow, (PROJECT, 5))
        assert row.status == "unreadable"
        assert "missing" in row.notes[0]
        assert session.scalars(usable_samples(PROJECT, SampleRow.annotation)).all() == [4]
    assert store.replace(accepted(5, image=2, lefts=(2, 7)))
    assert contents(database) == before
    assert set_aside() == 0


def test_what_an_annotation_has_already_is_not_encoded_again_unless_it_was_set_aside(
    store, database, tmp_path, monkeypatch, set_aside
):
    encoded, png = [], sample_files._png
    monkeypatch.setattr(sample_files, "_png", lambda *of: encoded.append(1) or png(*of))
    store.replace(accepted(lefts=(2, 8)))
    assert len(encoded) == 3  # the image and two masks
    store.replace(accepted(minute=1, lefts=(8, 11)))
    assert len(encoded) == 4
    store.replace(accepted(5, lefts=(8,)))
    for file in (tmp_path / "files").rglob("*.png"):
        file.write_bytes(b"damaged")
    store.replace(accepted(minute=2, lefts=(8, 11)))
    assert len(encoded) == 6
    assert set_aside() == 2
    assert store.replace(accepted(minute=2, lefts=(8, 11)))
    assert len(encoded) == 9
    assert set_aside() == 0
    assert len(take_snapshot(database, PROJECT).samples) == 2


def test_files_that_were_away_for_a_moment_cost_no_sample(store, database, tmp_path, set_aside):
    store.replace(accepted(4))
    (tmp_path / "files" / "images").rename(tmp_path / "away")
    assert set_aside() == 1
    assert take_snapshot(database, PROJECT).samples == ()
    store.replace(replace(accepted(4, lefts=()), status="unreadable", notes=("image is 404",)))
    (tmp_path / "away").rename(tmp_path / "files" / "images")
    assert set_aside() == 0
    assert len(take_snapshot(database, PROJECT).samples) == 1


def test_what_is_deleted_while_files_are_read_stays_deleted_whatever_the_clock(
    store, database, tmp_path, set_aside, monkeypatch
):
    store.replace(accepted())
    shutil.rmtree(tmp_path / "files" / "images")
    monkeypatch.setattr(samples, "now", lambda: now() - timedelta(minutes=1))
    assert set_aside(report=lambda done, total: store.withdraw(PROJECT, [4])) == 0
    assert not store.replace(accepted())
    assert contents(database) == ([], [])


def test_files_that_were_away_for_a_moment_cost_no_note(store, database, tmp_path, set_aside):
    store.replace(replace(accepted(), notes=("a region is empty",)))
    (tmp_path / "files" / "images").rename(tmp_path / "away")
    assert set_aside() == 1
    (tmp_path / "away").rename(tmp_path / "files" / "images")
    assert set_aside() == 0
    with database.read() as session:
        assert session.get(AnnotationRow, (PROJECT, 4)).notes == ["a region is empty"]


def test_files_that_cannot_be_read_now_are_not_taken_for_damaged(
    store, database, tmp_path, set_aside
):
    store.replace(accepted())
    (mask,) = (tmp_path / "files" / "masks").rglob("*.png")
    mask.unlink()
    mask.mkdir()
    with pytest.raises(FileStoreError, match="cannot be read"):
        set_aside()
    assert len(row_ids(database)) == 1


@pytest.mark.parametrize("there", [False, True], ids=["nothing", "those of another installation"])
def test_a_place_that_is_not_the_installations_is_not_taken_for_lost_files(
    store, database, files, tmp_path, set_aside, there
):
    store.replace(accepted())
    (name,) = (tmp_path / "files" / "installation").iterdir()
    (tmp_path / "files").rename(tmp_path / "not mounted")
    if there:
        other = Database(f"sqlite:///{tmp_path}/other.db")
        ModelVersions(other, files).register_base(checkpoint(tmp_path, "starter"))
        other.close()
    with pytest.raises(FileStoreError, match=f"{name}.*nothing there is of this installation"):
        set_aside()
    assert len(take_snapshot(database, PROJECT).samples) == 1
    name.parent.mkdir(parents=True, exist_ok=True)
    name.touch()  # by a person, as the sentence says
    assert set_aside() == 1


def test_of_many_files_only_those_are_read_that_a_job_needs(store, database, set_aside):
    for number in range(6):
        store.replace(accepted(number, image=number))
    told = []
    images = take_snapshot(database, PROJECT).images()[:2]
    assert set_aside(images, lambda *progress: told.append(progress)) == 0
    assert [total for _, total in told] == [3] * 3, "two images that share a mask"
