"""Whose the stored files are is known before anything is stored beside them."""

import pytest

from tests.training.version_files import checkpoint
from training.errors import FileStoreError
from training.store.database import Database
from training.store.installation import begin_installation, require_own_files
from training.store.model_versions import ModelVersions
from training.store.stored_files import StoredFiles


@pytest.fixture
def base(versions, tmp_path):
    return versions.register_base(checkpoint(tmp_path, "starter"))


def test_nothing_is_stored_where_nothing_is_of_this_installation(versions, base, tmp_path):
    (tmp_path / "files").rename(tmp_path / "not mounted")
    with pytest.raises(FileStoreError, match="nothing there is of this installation"):
        versions.install(checkpoint(tmp_path, "own"))
    with pytest.raises(FileStoreError, match="nothing there is of this installation"):
        versions.mend(base, checkpoint(tmp_path, "starter"))
    assert not (tmp_path / "files").exists()


def test_an_installation_whose_files_were_moved_goes_on(versions, base, tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    (tmp_path / "files").rename(tmp_path / "moved")
    moved = ModelVersions(database, StoredFiles(tmp_path / "moved", tmp_path / "downloads"))
    assert moved.install(checkpoint(tmp_path, "own")) == base + 1
    database.close()


def test_of_programs_that_begin_an_installation_at_once_each_finds_its_files(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")

    class SlowFiles(StoredFiles):
        def write(self, key, content):
            super().write(key, content)
            if key.startswith("installation/"):
                begin_installation(database, StoredFiles(tmp_path / "files", tmp_path))

    files = SlowFiles(tmp_path / "files", tmp_path)
    ModelVersions(database, files).register_base(checkpoint(tmp_path, "starter"))
    assert len(files.keys("installation")) == 2
    require_own_files(database, files)
    begin_installation(database, files)
    assert len(files.keys("installation")) == 2, "who finds a name writes none"
    database.close()


def test_a_new_database_takes_no_files_of_another(versions, base, tmp_path):
    """One that was lost, or is mistyped, would have all of them swept."""
    database, files = Database("sqlite://"), StoredFiles(tmp_path / "files", tmp_path)
    with pytest.raises(FileStoreError, match="versions of another database, and this one is new"):
        ModelVersions(database, files).install(checkpoint(tmp_path, "own"))
    with pytest.raises(FileStoreError, match="this database knows of no stored files"):
        require_own_files(database, files)
    assert len(files.keys("installation")) == 1
    assert len(files.keys("versions")) == 2

    (tmp_path / "files" / "installation").rename(tmp_path / "not copied")
    with pytest.raises(FileStoreError, match="versions of another database, and this one is new"):
        ModelVersions(database, files).install(checkpoint(tmp_path, "own"))

    (tmp_path / "files").rename(tmp_path / "moved away")
    ModelVersions(database, files).install(checkpoint(tmp_path, "own"))
    require_own_files(database, files)
    database.close()


def test_what_a_program_leaves_that_was_killed_as_it_began_stops_nobody(tmp_path):
    files = StoredFiles(tmp_path / "files", tmp_path)
    files.write("installation/0123456789abcdef", b"")
    database = Database("sqlite://")
    ModelVersions(database, files).install(checkpoint(tmp_path, "own"))
    require_own_files(database, files)
    database.close()
