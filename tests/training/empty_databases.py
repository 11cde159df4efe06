"""Empty databases: of SQLite and, where TEST_POSTGRESQL names one, in a PostgreSQL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from training.store.database import Database

ADDRESS = os.environ.get("TEST_POSTGRESQL")
SCHEMA = "empty_database_of_a_test"  # beside what is in that database, and dropped again
DATABASES = [
    "sqlite",
    pytest.param(
        "postgresql", marks=pytest.mark.skipif(not ADDRESS, reason="TEST_POSTGRESQL is not set")
    ),
]


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[Database]:
    """Yield a database of one of `DATABASES`; of SQLite, in a folder."""
    if kind == "sqlite":
        database = Database(folder / "test.db")
        yield database
        database.close()
        return
    server = Database(ADDRESS)
    with server.write() as session:
        session.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    address = make_url(ADDRESS).update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    database = Database(address.render_as_string(hide_password=False))
    yield database
    database.close()
    with server.write() as session:
        session.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
    server.close()
