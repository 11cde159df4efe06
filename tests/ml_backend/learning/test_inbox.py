"""How long messages wait and are kept, and what is said of them.

On SQLite and, where TEST_POSTGRESQL names one, on PostgreSQL.
"""

from datetime import timedelta

import pytest
from sqlalchemy import event, select

from ml_backend.images.image_limits import NOT_ASKED_AGAIN_SECONDS
from ml_backend.learning import inbox as inbox_module
from ml_backend.learning.inbox import (
    FIRST_RETRY,
    KEPT,
    LONGEST_RETRY,
    Backlog,
    Inbox,
    MessageRow,
    PieceRow,
)
from tests.training.empty_databases import DATABASES, empty_database
from training.moments import now


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    with empty_database(request.param, tmp_path) as database:
        yield database


@pytest.fixture
def inbox(database):
    return Inbox(database)


def rows(database):
    with database.read() as session:
        return session.scalars(select(MessageRow).order_by(MessageRow.id)).all()


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


@pytest.fixture
def clock(monkeypatch):
    """The time that the inbox reads: the last of these moments."""
    moments = [now()]
    monkeypatch.setattr(inbox_module, "now", lambda: moments[-1])
    return moments


def begin(inbox):
    """Begin an attempt at the only message, due or not."""
    assert inbox.begin(inbox.next_due(now() + LONGEST_RETRY))


def wait_of(database, clock):
    with database.read() as session:
        return session.scalars(select(MessageRow.due_at)).one() - clock[-1]


def test_every_attempt_waits_twice_as_long_as_the_one_before_up_to_ten_minutes(
    inbox, database, clock
):
    message = inbox.put("ANNOTATION_CREATED", "2.1", b"{}")
    waits = []
    for _ in range(9):
        begin(inbox)
        inbox.retry(message, "its server does not give it: no answer")
        waits.append(wait_of(database, clock).total_seconds())
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_the_first_retry_comes_once_an_image_that_took_long_to_fail_is_asked_for_again(
    inbox, database, clock
):
    message = inbox.put("ANNOTATION_CREATED", "2.1", b"{}")
    begin(inbox)
    clock.append(clock[-1] + timedelta(minutes=1))
    inbox.retry(message, "it takes longer than 60 seconds")
    assert wait_of(database, clock) >= timedelta(seconds=NOT_ASKED_AGAIN_SECONDS)


def test_a_message_whose_worker_died_waits_as_well(inbox, database, clock):
    inbox.put("ANNOTATION_CREATED", "2.1", b"{}")
    begin(inbox)
    assert wait_of(database, clock) == FIRST_RETRY


@pytest.mark.parametrize(
    ("waited", "waits"),
    [
        (timedelta(0), FIRST_RETRY),
        (timedelta(minutes=3), timedelta(minutes=3)),
        (timedelta(days=3), LONGEST_RETRY),
    ],
)
def test_what_is_postponed_waits_as_long_as_it_has_waited(inbox, database, clock, waited, waits):
    message = inbox.put("ANNOTATION_CREATED", "2.1", b"{}")
    clock.append(clock[-1] + waited)
    inbox.postpone(message, "Label Studio is away")
    assert wait_of(database, clock) == waits


def test_what_was_postponed_for_thirty_days_is_given_up_without_its_body(inbox, database, clock):
    message = inbox.put("ANNOTATION_CREATED", "2.1", b"{}")
    clock.append(clock[-1] + KEPT)
    inbox.postpone(message, "Label Studio refuses the token")
    assert [row.state for row in rows(database)] == ["waiting"]
    clock.append(clock[-1] + LONGEST_RETRY)
    inbox.postpone(message, "Label Studio refuses the token")
    (row,) = rows(database)
    assert row.state == "failed"
    with database.read() as session:
        assert session.scalars(select(PieceRow)).all() == []
    assert row.note == "given up after 30 days: Label Studio refuses the token"
    assert not inbox.has_waiting()
    assert inbox.given_up("2.1", clock[-1]) == {"ANNOTATION_CREATED"}


def test_what_was_given_up_while_the_clock_was_ahead_is_settled_too(inbox, database):
    put(inbox, 1, "failed")
    with database.write() as session:
        session.get(MessageRow, 1).received_at = now() + timedelta(days=365)
    put(inbox, 1, "failed")
    before = now()
    put(inbox, 1, "failed")
    inbox.settle("2.1", before)
    assert states(database) == ["done", "done", "failed"]


@pytest.fixture
def loaded():
    """The rows of messages of which an object was made."""
    rows = []

    def note(row, _context):
        rows.append(row)

    event.listen(MessageRow, "load", note)
    yield rows
    event.remove(MessageRow, "load", note)


def test_the_database_counts_what_waits_and_tells_the_last_problem(inbox, clock, loaded):
    first = clock[-1]
    messages = []
    for minute in (0, 2, 1, 3, 4, 5, 6):
        clock.append(first + timedelta(minutes=10 + minute))
        messages.append(inbox.put("ANNOTATION_CREATED", "2.1", b"{}"))
    inbox.done(messages[0], "a note")
    inbox.retry(messages[3], "the last problem")
    inbox.retry(messages[1], "the problem of an older one")
    inbox.fail(messages[5], "image is 404")
    inbox.fail(messages[6], "")
    inbox.retry(inbox.put("ANNOTATION_CREATED", "3.1", b"{}"), "another project's")
    loaded.clear()
    assert inbox.backlog("2.1") == Backlog(
        waiting=4,
        oldest=first + timedelta(minutes=11),
        waiting_problem="the last problem",
        failed=2,
        failed_problem="image is 404",
    )
    assert inbox.backlog("4.1") == Backlog(0, None, "", 0, "")
    assert loaded == []
