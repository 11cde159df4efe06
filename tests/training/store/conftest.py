"""A store of samples, and where it keeps them."""

import pytest

from training.store.database import Database
from training.store.samples import SampleStore
from training.store.stored_files import StoredFiles


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    yield database
    database.close()


@pytest.fixture
def files(tmp_path):
    return StoredFiles(str(tmp_path / "files"), tmp_path / "downloads")


@pytest.fixture
def store(database, files):
    return SampleStore(database, files)
