"""The database on a real PostgreSQL: TEST_POSTGRESQL=postgresql+psycopg://user:password@host/name.

What is in it stays as it is; a table of these tests is added and removed again.
"""

import os
import threading
import traceback

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from training.errors import DatabaseError
from training.store import database as database_module
from training.store.database import Base, Database

ADDRESS = os.environ.get("TEST_POSTGRESQL")
pytestmark = pytest.mark.skipif(not ADDRESS, reason="TEST_POSTGRESQL is not set")


class Word(Base):
    __tablename__ = "words_of_a_test"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str]


@pytest.fixture
def database():
    database = Database(ADDRESS)
    database.create(Word)
    yield database
    with database.write() as session:
        session.execute(text(f"DROP TABLE {Word.__tablename__}"))
    database.close()


def count(database):
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Word))


@pytest.mark.parametrize(
    ("values", "kind"), [("NULL, :word", IntegrityError), ("1 / 0, :word", DataError)]
)
def test_a_row_that_is_refused_does_not_stand_in_the_trace(database, values, kind):
    insert = text(f"INSERT INTO {Word.__tablename__} VALUES ({values})")
    row = {"word": "Maria Muster"}

    def write():
        with database.write() as session:
            # as operators may have it, to see why a statement failed
            session.execute(text("SET LOCAL log_parameter_max_length_on_error = -1"))
            session.execute(insert, row)

    with pytest.raises(kind) as error:
        write()
    trace = "".join(traceback.format_exception(error.value))
    assert "psycopg.errors." in trace
    assert "Maria" not in trace


def test_connections_that_the_server_has_closed_cost_nothing(database):
    with database.write() as session:
        session.add(Word(word="before"))
    other = Database(ADDRESS)
    with other.write() as session:
        # as a restart does, or a proxy that closes what is idle
        closed = session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                "pg_backend_pid() AND datname = current_database() AND usename = current_user"
            )
        ).scalars()
        assert any(closed)
    other.close()
    with database.write() as session:
        session.add(Word(word="after"))
    assert count(database) == 2


def test_a_reader_sees_one_state_and_keeps_no_writer_waiting(database):
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Word)) == 0
        with database.write() as writing:
            writing.add(Word(word="later"))
        assert session.scalar(select(func.count()).select_from(Word)) == 0
    assert count(database) == 1


def test_what_a_writer_has_checked_stays_true_until_it_writes(database):
    def add_unless_there():
        with database.write() as session:
            if session.scalar(select(func.count()).select_from(Word)) == 0:
                session.add(Word(word="once"))

    threads = [threading.Thread(target=add_unless_there) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == 1


def test_a_writer_that_does_not_end_is_waited_for_only_so_long(database, monkeypatch):
    short = database_module._TAKE_WRITE_LOCK.replace("'10s'", "'100ms'")
    monkeypatch.setattr(database_module, "_TAKE_WRITE_LOCK", short)
    other = Database(ADDRESS)
    is_refused = pytest.raises(DatabaseError, match="is locked for 10 seconds or more")
    with database.write(), is_refused, other.write():
        pass
    with other.write() as session:
        session.add(Word(word="after"))
    other.close()
    assert count(database) == 1


def test_a_writer_that_was_stopped_in_the_middle_is_put_out(database, monkeypatch):
    """As one whose machine was taken away, of which the server hears nothing for two hours."""
    short = database_module._TAKE_WRITE_LOCK.replace("'60s'", "'100ms'")
    monkeypatch.setattr(database_module, "_TAKE_WRITE_LOCK", short)
    stopped = Database(ADDRESS)

    def write():
        with stopped.write() as session:
            session.add(Word(word="never"))
            session.flush()
            with database.write() as other:
                other.add(Word(word="instead"))

    with pytest.raises(DatabaseError, match="cannot be used"):
        write()
    stopped.close()
    assert count(database) == 1


def test_one_that_may_only_be_read_is_said_in_a_sentence(database):
    """As after a failover, or on a disk that is nearly full."""

    def write():
        with database.write() as session:
            session.execute(text("SET TRANSACTION READ ONLY"))
            session.add(Word(word="kept"))

    with pytest.raises(DatabaseError, match="cannot be used: cannot execute INSERT in a read-only"):
        write()
