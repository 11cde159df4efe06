"""The database that outlives the processes: a file of SQLite, or what SQLAlchemy has a URL for.

Each module that keeps something declares its tables on `Base` and creates them when it is
constructed. Writers take SQLite's one write lock at the start of their transaction: a transaction
that begins by reading and upgrades later can fail with "database is locked" however long it waits.
In PostgreSQL they take one lock, too: what a transaction has checked stays true until it writes.
A process of low priority that holds the lock and gets no processor keeps all others waiting; what
it writes again and again it writes with `Database.update`.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    DateTime,
    Dialect,
    Engine,
    ExceptionContext,
    Table,
    Update,
    create_engine,
    event,
    exc,
    func,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from training import __version__
from training.errors import DatabaseError

SCHEMA_VERSION = 5
_FREE_CONNECTION_SECONDS = 2
# Of a machine that vanished nobody hears, and Linux waits a quarter of an hour for it, or two hours
# where nothing was sent: libpq's own names, seconds but for the last.
_VANISHES = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
_LIBPQ_DRIVERS = ("psycopg", "psycopg2")
_LOCKED_SECONDS = 10
_LOCKED = "database is locked"  # as SQLite says it
_LOCK_TIMEOUT = "55P03"  # of PostgreSQL, whose own words depend on its language
_BEGINS_WITH = "begins_with"  # in SQLite
_WRITE_LOCK = 0x6963_6D66  # any number that other programs in the database do not use
_IDLE_SECONDS = 60  # a writer that does nothing for so long has vanished, or was stopped
_TAKE_WRITE_LOCK = (
    f"SET LOCAL lock_timeout = '{_LOCKED_SECONDS}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'; "
    f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"
)
# 40 MB: only where nobody calls `checkpoint` does a commit have to move them, which took 0.1 s.
_MOST_PAGES_IN_LOG = 10_000


class Base(DeclarativeBase):
    """Every table of this project."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC; SQLite would drop the zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what is stored: UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return what was stored, with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


LARGEST_INTEGER = 2**31 - 1  # that every database takes for a number of a row


class Database:
    """A pool of connections; safe to share between threads, not across a fork.

    Whatever is asked of it raises DatabaseError where the database cannot be reached or used.
    """

    def __init__(self, place: Path | str) -> None:
        """Open the database, creating it where it does not exist.

        Args:
            place: a file of SQLite; or text, a URL as SQLAlchemy writes it.

        Raises:
            DatabaseError: if it cannot be opened, or another version of this program wrote it.
        """
        self._engine = _engine(place)
        event.listen(self._engine, "handle_error", _leave_out_rows)
        event.listen(self._engine, "handle_error", _say_in_a_sentence)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._turn = threading.Lock()
        if self._is_sqlite:
            event.listen(self._engine, "connect", _configure_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        try:
            self._check_schema()
        except ProgrammingError as error:
            raise DatabaseError(_sentence(self._engine, error.orig)) from error

    def create(self, *tables: type[Base]) -> None:
        """Create the tables that do not exist yet; where all do, nobody has to wait to write."""
        wanted = [table.__table__ for table in tables if isinstance(table.__table__, Table)]
        with self._in_sentences():
            with self._engine.connect() as connection:
                known = inspect(connection)
                missing = [table for table in wanted if not known.has_table(table.name)]
            if missing:
                with self._begin_write() as connection:
                    Base.metadata.create_all(connection, tables=missing)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose changes are on disk when the block ends, or not at all."""
        with (
            self._in_sentences(),
            self._begin_write() as connection,
            Session(connection) as session,
        ):
            session.expire_on_commit = False
            yield session
            session.flush()

    def update(self, statement: Update) -> int:
        """Change rows by one statement that commits itself; return how many.

        Nothing of Python's runs while the database holds the write lock for it.
        """
        if self._engine.dialect.name == "postgresql":
            lock = select(func.pg_advisory_xact_lock(_WRITE_LOCK)).scalar_subquery()
            statement = statement.where(lock.is_not(None))
        engine = _autocommit_engine(self._engine)
        with self._in_sentences(), self._in_turn(), engine.connect() as connection:
            return connection.execute(statement).rowcount

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session that sees one state of the database and never waits for a writer."""
        engine = _read_engine(self._engine)
        with self._in_sentences(), Session(engine, expire_on_commit=False) as session:
            yield session

    def checkpoint(self) -> None:
        """Let SQLite move what was written lately to its place, so that no commit has to.

        Nobody waits for it.
        """
        if self._is_sqlite:
            with self._cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def empty_log(self) -> None:
        """Let SQLite cut its log to nothing: what was deleted would stay readable there.

        It keeps writers waiting for some tens of milliseconds, since a checkpoint moves most of the
        log before. Where somebody reads or writes just then, the log stays: ask again later.
        """
        if self._is_sqlite:
            self.checkpoint()
            with self._cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout=0")
                try:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    cursor.execute(f"PRAGMA busy_timeout={_LOCKED_SECONDS * 1000}")

    def close(self) -> None:
        """Close every connection of the pool."""
        self._engine.dispose()

    @contextmanager
    def _cursor(self) -> Iterator[DBAPICursor]:
        """Yield SQLite's own cursor: a session would begin a transaction."""
        try:
            with (
                self._in_sentences(),
                contextlib.closing(self._engine.raw_connection()) as connection,
                contextlib.closing(connection.cursor()) as cursor,
            ):
                yield cursor
        except sqlite3.Error as error:
            raise DatabaseError(_sentence(self._engine, error)) from error

    @contextmanager
    def _in_sentences(self) -> Iterator[None]:
        """Say that all connections are waiting for an answer; no driver knows of that."""
        try:
            yield
        except exc.TimeoutError as error:
            problem = "it does not answer: all connections to it wait"
            raise DatabaseError(_sentence(self._engine, problem)) from error

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Let the threads that share this object queue, where SQLite has them look now and then."""
        if not self._is_sqlite:
            yield
        elif self._turn.acquire(timeout=_LOCKED_SECONDS):
            try:
                yield
            finally:
                self._turn.release()
        else:
            raise DatabaseError(_sentence(self._engine, _LOCKED))

    @contextmanager
    def _begin_write(self) -> Iterator[Connection]:
        with self._in_turn(), _write_engine(self._engine).begin() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_TAKE_WRITE_LOCK)
            yield connection

    def _check_schema(self) -> None:
        found = self._read_schema() or self._write_schema()
        if found != SCHEMA_VERSION:
            problem = (
                f"it has schema {found}, and release {__version__} writes {SCHEMA_VERSION}; run "
                "the release that wrote it last (CHANGELOG.md)"
            )
            raise DatabaseError(_sentence(self._engine, problem))

    def _read_schema(self) -> int | None:
        """Return the version of the schema, None where there is none; nobody waits to write."""
        with self._engine.connect() as connection:
            if not inspect(connection).has_table("schema_version"):
                return None
            return connection.execute(text("SELECT number FROM schema_version")).scalar()

    def _write_schema(self) -> int:
        """Write the version of the schema, unless another process was faster; return it."""
        with self._begin_write() as connection:
            connection.execute(
                text("CREATE TABLE IF NOT EXISTS schema_version (number INTEGER NOT NULL)")
            )
            found = connection.execute(text("SELECT number FROM schema_version")).scalar()
            if found is not None:
                return int(found)
            connection.execute(
                text("INSERT INTO schema_version VALUES (:number)"), {"number": SCHEMA_VERSION}
            )
            return SCHEMA_VERSION


def _engine(place: Path | str) -> Engine:
    """Prepare to connect; the address may hold a password, so only its kind is ever repeated."""
    if isinstance(place, Path):
        # A trace shall not hold what is kept.
        return create_engine(URL.create("sqlite", database=str(place)), hide_parameters=True)
    kind = place.partition(":")[0]
    # A server that was started again, or a proxy, has closed what the pool still holds. One that
    # hangs keeps the threads that ask it: those that find no free connection must go on soon.
    remote = {"pool_pre_ping": True, "pool_timeout": _FREE_CONNECTION_SECONDS}
    options = {} if place.startswith("sqlite") else remote
    try:
        limits = _limits(make_url(place))
        return create_engine(place, hide_parameters=True, connect_args=limits, **options)
    except ImportError as error:
        raise DatabaseError(
            f"a {kind} database needs the package {error.name}, which is not installed here; for "
            'PostgreSQL install "psycopg[binary]" (docs/deployment.md says how) and let the '
            "address begin with postgresql+psycopg://"
        ) from error
    except ValueError:  # which may quote the password
        raise DatabaseError(
            f"the address of the {kind[:40]} database cannot be read: write it like "
            "postgresql+psycopg://user:password@host:5432/name"
        ) from None
    except ArgumentError as error:
        raise DatabaseError(
            f"{kind[:40]!r} is no kind of database that SQLAlchemy knows: write the address like "
            "postgresql+psycopg://user:password@host/name"
        ) from error


def _limits(url: URL) -> dict[str, int]:
    """Return when a connection counts as broken, but for what the address itself says of that."""
    if url.get_driver_name() not in _LIBPQ_DRIVERS:
        return {}
    return {name: value for name, value in _VANISHES.items() if name not in url.query}


def _leave_out_rows(context: ExceptionContext) -> None:
    """Cut the further lines of what PostgreSQL says: they may hold the row that it refuses."""
    error = context.sqlalchemy_exception
    if isinstance(error, exc.DBAPIError):
        for said in (error, context.original_exception):
            said.args = tuple(str(part).partition("\n")[0] for part in said.args)


def _say_in_a_sentence(context: ExceptionContext) -> None:
    """Turn what says that the database is away, full or locked into an error of ours."""
    error = context.sqlalchemy_exception
    # of SQLite, a plain DatabaseError says that the file is no database, or a damaged one
    is_damaged = type(error) is exc.DatabaseError
    is_away = (
        is_damaged
        # the second is how PostgreSQL says that it may only be read, as after a failover
        or isinstance(error, (OperationalError, exc.InternalError))
        or (error is not None and context.is_disconnect)
    )
    # of a ping that fails nobody hears: the pool connects anew
    if is_away and context.engine is not None and not context.is_pre_ping:
        sentence = _sentence(context.engine, context.original_exception, is_damaged)
        raise DatabaseError(sentence) from error


def _sentence(engine: Engine, problem: object, is_damaged: bool = False) -> str:
    shown = engine.url.render_as_string(hide_password=True)
    said = (str(problem).strip().splitlines() or [repr(problem)])[0]
    if said == _LOCKED or getattr(problem, "sqlstate", "") == _LOCK_TIMEOUT:
        said = (
            f"{_LOCKED} for {_LOCKED_SECONDS} seconds or more by what others write; this passes, "
            "unless the machine has too little processor time or a process that writes was "
            "stopped in the middle"
        )
    if is_damaged:
        said += (
            "; it is damaged: stop serve and work and put a backup back, or move it away to begin "
            "anew without it"
        )
    return f"the database {shown} cannot be used: {said}"


def _write_engine(engine: Engine) -> Engine:
    return engine.execution_options(**{_BEGINS_WITH: "BEGIN IMMEDIATE"})


def _autocommit_engine(engine: Engine) -> Engine:
    """Let each statement commit itself, as SQLite does where nobody begins a transaction."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_BEGINS_WITH: ""})
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _read_engine(engine: Engine) -> Engine:
    """Let all statements see what the first one saw: PostgreSQL must be told to, unlike SQLite."""
    if engine.dialect.name != "postgresql":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def _configure_sqlite(connection: Any, _record: object) -> None:
    """Let readers pass writers, wait for other processes, and survive a power cut."""
    connection.isolation_level = None  # SQLAlchemy's "begin" below decides when to lock
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_LOCKED_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA wal_autocheckpoint={_MOST_PAGES_IN_LOG}")
    cursor.execute("PRAGMA foreign_keys=ON")
    # Otherwise what was deleted stays in the file, unless SQLite was compiled to overwrite it.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get(_BEGINS_WITH, "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)
