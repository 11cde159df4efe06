"""How long messages are kept, and that keeping them in order holds up no webhook."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from ml_backend.learning import inbox as inbox_module
from ml_backend.learning.inbox import KEPT, Inbox, MessageRow
from training.moments import now
from training.store.database import Database


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/inbox.db")
    yield database
    database.close()


@pytest.fixture
def inbox(database):
    return Inbox(database)


def put(inbox, number, state):
    for _ in range(number):
        message = inbox.put("ANNOTATION_CREATED", "2.1", b"{}")
        if state == "done":
            inbox.done(message)
        elif state == "failed":
            inbox.fail(message, "image is 404")


def states(database):
    with database.read() as session:
        return list(session.scalars(select(MessageRow.state).order_by(MessageRow.id)))


def test_what_was_dealt_with_long_ago_is_deleted_in_portions(inbox, database, monkeypatch):
    monkeypatch.setattr(inbox_module, "_ROWS_AT_ONCE", 2)
    for number, state in ((3, "failed"), (3, "done"), (1, "waiting"), (2, "done")):
        put(inbox, number, state)
    with database.write() as session:
        for row in session.scalars(select(MessageRow)):
            row.received_at = now() - KEPT - timedelta(minutes=1)
    put(inbox, 2, "done")
    inbox.tidy()
    assert states(database) == ["failed"] * 3 + ["waiting", "done", "done"]


def test_where_nothing_is_old_nobody_waits_for_the_right_to_write(inbox, database):
    put(inbox, 3, "done")
    with database.write():
        inbox.tidy()
    assert states(database) == ["done"] * 3
