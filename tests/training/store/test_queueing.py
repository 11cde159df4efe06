"""Who waits to write to one file of SQLite: the threads of a process do so in a queue."""

import sqlite3
import threading
from contextlib import closing

import pytest
from sqlalchemy import event, select, text, update

from tests.waiting import PATIENCE
from training.errors import DatabaseError
from training.moments import now
from training.store import database as database_module
from training.store.database import Database
from training.store.sample_rows import DeletedTaskRow


@pytest.fixture
def impatient(tmp_path):
    """A database whose connections do not wait for a lock at all."""
    database = Database(tmp_path / "state.db")
    database.create(DeletedTaskRow)
    database.close()
    event.listen(
        database._engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA busy_timeout=0"),
    )
    yield database
    database.close()


def test_threads_of_one_process_wait_for_each_other_and_not_for_sqlite(impatient, monkeypatch):
    monkeypatch.setattr(database_module, "_LOCKED_SECONDS", PATIENCE)  # however slow the disk is
    problems = []

    def write(project):
        try:
            for task in range(20):
                with impatient.write() as session:
                    session.add(DeletedTaskRow(project=project, task=task, stored_at=now()))
                rows = update(DeletedTaskRow).where(DeletedTaskRow.project == project)
                impatient.update(rows.values(stored_at=now()))
        except DatabaseError as error:
            problems.append(str(error))

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with impatient.read() as session:
        assert len(session.scalars(select(DeletedTaskRow)).all()) == 120


def locked(database):
    with pytest.raises(DatabaseError) as error, database.write():
        pass
    return str(error.value)


def test_who_waits_too_long_is_told_that_others_write(impatient, tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "_LOCKED_SECONDS", 0)
    told = "cannot be used: database is locked for 0 seconds or more by what others write; this"
    with closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert told in locked(impatient)
        other.rollback()
    with impatient.write() as session:
        session.execute(text("SELECT 1"))
        assert told in locked(impatient)
    with impatient.write():
        pass
