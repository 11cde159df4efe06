import contextlib
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, delete, event, make_url, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from tests.waiting import PATIENCE
from training import __version__
from training.errors import DatabaseError
from training.moments import now
from training.store.database import SCHEMA_VERSION, Base, Database, UtcDateTime, _limits


class Note(Base):
    __tablename__ = "notes_of_a_test"

    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcDateTime)


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/state.db")
    database.create(Note)
    yield database
    database.close()


def words(database):
    with database.read() as session:
        return [note.words for note in session.query(Note).order_by(Note.id)]


def test_a_block_that_fails_writes_nothing(database):
    def fail_half_way():
        with database.write() as session:
            session.add(Note(words="lost", at=now()))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert words(database) == []


def test_times_come_back_aware_and_in_utc(database):
    east = timezone(timedelta(hours=9))
    with database.write() as session:
        session.add(Note(words="noon", at=datetime(2026, 1, 1, 12, tzinfo=east)))
    with database.read() as session:
        assert session.query(Note).one().at == datetime(2026, 1, 1, 3, tzinfo=UTC)


def test_threads_write_without_losing_a_row(database):
    def write(name):
        for number in range(20):
            with database.write() as session:
                session.query(Note).count()  # a read before the write is what upgrades a lock
                session.add(Note(words=f"{name}-{number}", at=now()))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(words(database))) == 80


def test_a_reader_sees_one_state_and_keeps_no_writer_waiting(database):
    with database.read() as session:
        assert session.query(Note).count() == 0
        with database.write() as writing:
            writing.add(Note(words="later", at=now()))
        assert session.query(Note).count() == 0
    assert words(database) == ["later"]


@pytest.mark.parametrize("place", [lambda file: file, lambda file: f"sqlite:///{file}"])
def test_what_is_refused_does_not_stand_in_the_error(tmp_path, place):
    database = Database(place(tmp_path / "state.db"))
    database.create(Note)
    notes = [Note(id=1, words="Maria Muster", at=now()) for _ in range(2)]
    with pytest.raises(IntegrityError) as error, database.write() as session:
        session.add_all(notes)
    assert "INSERT" in str(error.value)
    assert "Maria" not in str(error.value)
    database.close()


def test_a_database_that_has_its_tables_is_opened_while_another_writes(database, tmp_path):
    with database.write() as session:
        session.add(Note(words="not yet", at=now()))
        another = Database(f"sqlite:///{tmp_path}/state.db")
        another.create(Note)
        assert words(another) == []
    assert words(another) == ["not yet"]
    another.close()


def test_what_was_written_is_on_disk_when_the_block_ends(database):
    """As SQLite says: in its log, only FULL forces every commit to disk."""
    with database.write() as session:
        asked = [session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")]
    full = 2
    assert asked == ["wal", full]


def test_after_a_checkpoint_the_file_is_complete_without_its_log(database, tmp_path):
    with database.write() as session:
        session.add(Note(words="moved", at=now()))
    database.checkpoint()
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "state.db", tmp_path / "copy" / "state.db")
    copy = Database(f"sqlite:///{tmp_path}/copy/state.db")
    assert words(copy) == ["moved"]
    copy.close()


def files_that_hold(folder, word):
    return [path.name for path in sorted(folder.iterdir()) if word in path.read_bytes()]


@pytest.fixture
def sqlite_as_most_compile_it():
    """Let no connection overwrite what is deleted unless it is told to."""

    def leave(connection, _record):
        connection.execute("PRAGMA secure_delete=OFF")

    event.listen(Engine, "connect", leave)
    yield
    event.remove(Engine, "connect", leave)


def test_what_was_deleted_is_in_no_file(sqlite_as_most_compile_it, tmp_path):
    database = Database(tmp_path / "state.db")
    database.create(Note)
    with database.write() as session:
        session.add(Note(words="Maria Muster", at=now()))
    database.checkpoint()
    assert files_that_hold(tmp_path, b"Maria Muster") == ["state.db", "state.db-wal"]
    with database.write() as session:
        session.execute(delete(Note))
    database.empty_log()
    assert files_that_hold(tmp_path, b"Maria Muster") == []
    database.close()


def test_a_log_that_somebody_reads_is_emptied_the_next_time(database, tmp_path, monkeypatch):
    monkeypatch.setattr("training.store.database._LOCKED_SECONDS", 2 * PATIENCE)
    log = tmp_path / "state.db-wal"
    another = Database(tmp_path / "state.db")
    with database.read() as session:
        session.query(Note).all()
        with another.write() as writing:
            writing.add(Note(words="later", at=now()))
        emptying = threading.Thread(target=another.empty_log)
        emptying.start()
        emptying.join(PATIENCE)  # it does not wait for the reader
        assert not emptying.is_alive()
        assert log.stat().st_size > 0
    another.empty_log()
    assert log.stat().st_size == 0
    with another.read() as session:  # others may take their time again
        assert session.scalar(text("PRAGMA busy_timeout")) == 2 * PATIENCE * 1000
    another.close()


def test_processes_create_and_write_at_once(tmp_path):
    url = f"sqlite:///{tmp_path}/state.db"
    program = (
        "import sys\n"
        "from training.store.sample_rows import DeletedTaskRow\n"
        "from training.store.database import Database\n"
        "from training.moments import now\n"
        "database = Database(sys.argv[1])\n"
        "database.create(DeletedTaskRow)\n"
        "for task in range(10):\n"
        "    with database.write() as session:\n"
        "        session.add(DeletedTaskRow(project=sys.argv[2], task=task, stored_at=now()))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, url, str(number)]) for number in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    database = Database(url)
    with database.read() as session:
        assert session.execute(text("SELECT count(*) FROM deleted_tasks")).scalar() == 30
    database.close()


@pytest.mark.parametrize("found", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_the_schema_of_another_version_is_refused_with_a_sentence(database, tmp_path, found):
    with database.write() as session:
        session.execute(text(f"UPDATE schema_version SET number = {found}"))
    with pytest.raises(DatabaseError, match=rf"state\.db .*schema {found},.*{__version__} "):
        Database(f"sqlite:///{tmp_path}/state.db")


def test_a_place_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(DatabaseError, match=r"absent/state\.db"):
        Database(f"sqlite:///{tmp_path}/absent/state.db")


def test_a_database_that_goes_away_is_named_until_it_is_back(database, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    database.close()
    for file in tmp_path.glob("state.db*"):
        file.rename(away / file.name)
    (tmp_path / "state.db").mkdir()
    with pytest.raises(DatabaseError, match=r"state\.db cannot be used: unable to open") as error:
        words(database)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(DatabaseError, match="cannot be used"), database.write():
        pass
    with pytest.raises(DatabaseError, match=r"state\.db cannot be used: unable to open"):
        database.empty_log()
    (tmp_path / "state.db").rmdir()
    for file in away.iterdir():
        file.rename(tmp_path / file.name)
    assert words(database) == []
    database.checkpoint()


def test_a_database_that_hangs_is_named_when_no_connection_is_free(database, monkeypatch):
    monkeypatch.setattr(database._engine.pool, "_timeout", 0.05)
    with contextlib.ExitStack() as waiting:
        for _ in range(15):
            waiting.enter_context(database.read()).execute(text("SELECT 1"))
        for use in (lambda: words(database), lambda: database.create(Note)):
            with pytest.raises(DatabaseError, match="does not answer: all connections to it wait"):
                use()
    assert words(database) == []


def test_one_that_may_only_be_read_is_named(database):
    """So PostgreSQL says it, after a failover or on a disk that is nearly full."""

    def refuse(cursor, statement, parameters, context):
        raise sqlite3.InternalError("cannot execute INSERT in a read-only transaction")

    event.listen(Engine, "do_execute", refuse)
    try:
        refused = pytest.raises(DatabaseError, match=r"state\.db cannot be used: .*read-only")
        with refused, database.read() as session:
            session.execute(text("SELECT 1"))
    finally:
        event.remove(Engine, "do_execute", refuse)


def test_a_driver_that_is_not_installed_is_named_without_the_password(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r'install "psycopg\[binary\]"') as error:
        Database("postgresql+psycopg://ann:secret@db/icmformer")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("address", ["postgres://ann:secret@db/icmformer", "secret"])
def test_an_address_of_no_known_kind_is_refused_with_a_sentence(address):
    with pytest.raises(DatabaseError, match="no kind of database") as error:
        Database(address)
    assert "ann:secret" not in str(error.value)


def test_a_server_that_vanishes_is_given_up_unless_its_address_says_otherwise():
    limits = _limits(make_url("postgresql+psycopg://ann@db/icmformer"))
    assert limits["connect_timeout"] == 5
    assert limits["tcp_user_timeout"] == 10_000
    more = _limits(make_url("postgresql+psycopg://ann@db/icmformer?connect_timeout=60"))
    assert limits.keys() - more.keys() == {"connect_timeout"}
    assert not _limits(make_url("postgresql+pg8000://ann@db/icmformer"))


def test_an_address_that_cannot_be_read_is_refused_with_a_sentence():
    with pytest.raises(DatabaseError, match=r"^the address of the postgresql\+psycopg") as error:
        Database("postgresql+psycopg://ann:sec@ret:ret@db/icmformer")
    assert "ret" not in str(error.value)


def test_what_cannot_be_used_is_named_without_the_password(database, monkeypatch):
    address = make_url("postgresql+psycopg://ann:secret@db/icmformer")
    monkeypatch.setattr(database._engine, "url", address)
    with database.write() as session:
        session.execute(text(f"DROP TABLE {Note.__tablename__}"))
    with pytest.raises(DatabaseError, match=r"ann:\*\*\*@db/.* cannot be used") as error:
        words(database)
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "state.db").write_text("no database at all")
    said = (
        r"state\.db cannot be used: file is not a database; .* put a backup back, or move it away"
    )
    with pytest.raises(DatabaseError, match=said):
        Database(f"sqlite:///{tmp_path}/state.db")
