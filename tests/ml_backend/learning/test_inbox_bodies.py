"""Bodies of messages go in portions: others write between them, and no crash leaves any for good.

On SQLite and, where TEST_POSTGRESQL names one, on PostgreSQL.
"""

from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError

from ml_backend.learning import inbox as inbox_module
from ml_backend.learning.inbox import KEPT, Inbox, Message, MessageRow, PieceRow
from tests.training.empty_databases import DATABASES, empty_database
from training.errors import DatabaseError
from training.moments import now

PROJECT, OTHER = "2.1", "3.1"
PIECE_BYTES, PIECES_AT_ONCE = 10, 3
BODIES = [b"of more than forty bytes, which hold a token", b"{}", b"ten bytes."]


@pytest.fixture(params=DATABASES)
def database(request, tmp_path):
    with empty_database(request.param, tmp_path) as database:
        yield database


@pytest.fixture
def inbox(database, monkeypatch):
    monkeypatch.setattr(inbox_module, "_PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(inbox_module, "_PIECES_AT_ONCE", PIECES_AT_ONCE)
    return Inbox(database)


@pytest.fixture
def pause(monkeypatch):
    """Let something happen between two portions."""
    return lambda happen: monkeypatch.setattr(inbox_module, "sleep", happen)


def of(database, query):
    with database.read() as session:
        return session.scalars(query).all()


def bytes_left(database):
    return sum(of(database, select(func.length(PieceRow.content))))


def do(inbox, messages):
    for message in messages:
        inbox.done(message)


def postpone(inbox, messages):
    later = now() + KEPT + timedelta(minutes=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox_module, "now", lambda: later)
        for message in messages:
            inbox.postpone(message, "Label Studio refuses the token")


def settle(inbox, messages):
    for message in messages:
        inbox.fail(message, "image is 404")
    inbox.settle(PROJECT, now())


def forget(inbox, messages):
    inbox.forget(PROJECT)


WAYS = pytest.mark.parametrize("let_go", [do, postpone, settle, forget])


@WAYS
def test_others_write_between_two_portions_none_of_which_is_large(inbox, database, pause, let_go):
    messages = [inbox.put("ANNOTATION_CREATED", PROJECT, body) for body in BODIES]
    left, put = [bytes_left(database)], []

    def meanwhile(_seconds):
        left.append(bytes_left(database) - 2 * len(put))
        put.append(inbox.put("ANNOTATION_CREATED", OTHER, b"{}"))

    pause(meanwhile)
    let_go(inbox, messages)
    left.append(bytes_left(database) - 2 * len(put))
    deleted = [before - after for before, after in pairwise(left)]
    assert max(deleted) <= PIECE_BYTES * PIECES_AT_ONCE
    assert (sum(deleted), left[-1]) == (sum(map(len, BODIES)), 0)
    assert put
    assert inbox.backlog(OTHER).waiting == len(put)


@WAYS
@pytest.mark.parametrize(
    "come_by",
    [Inbox.tidy, lambda inbox: inbox.settle(OTHER, now()), lambda inbox: inbox.forget("4.1")],
)
def test_what_a_crash_leaves_goes_when_the_inbox_is_next_put_in_order(
    inbox, database, pause, let_go, come_by
):
    waits = inbox.put("ANNOTATION_CREATED", OTHER, BODIES[0])
    messages = [inbox.put("ANNOTATION_CREATED", PROJECT, body) for body in BODIES]

    def crash(_seconds):
        raise SystemExit

    pause(crash)
    with pytest.raises(SystemExit):
        let_go(inbox, messages)
    assert bytes_left(database) > len(BODIES[0])
    if let_go is postpone:
        with database.write() as session:
            for row in session.scalars(select(MessageRow).where(MessageRow.project == PROJECT)):
                row.received_at -= KEPT + timedelta(minutes=1)
    pause(lambda _seconds: None)
    come_by(inbox)
    needed = set(of(database, select(MessageRow.id).where(MessageRow.state == "waiting")))
    assert waits in needed
    assert set(of(database, select(PieceRow.message))) == needed
    assert next(body for _, body in inbox.annotations_after(waits - 1, OTHER)) == BODIES[0]


def test_a_body_is_read_as_it_came(inbox):
    numbers = [inbox.put("ANNOTATION_CREATED", PROJECT, body) for body in BODIES]
    assert list(inbox.annotations_after(0, PROJECT)) == list(zip(numbers, BODIES, strict=True))
    for number, body in zip(numbers, BODIES, strict=True):
        message = inbox.next_due(now())
        assert (message.id, message.body) == (number, body)
        inbox.done(number)
    assert inbox.next_due(now()) is None


def lose_pieces(database):
    with database.write() as session:
        session.execute(text(f"DROP TABLE {PieceRow.__tablename__}"))


def test_a_message_whose_body_cannot_be_kept_is_not_kept(inbox, database):
    lose_pieces(database)
    with pytest.raises((DatabaseError, ProgrammingError), match=PieceRow.__tablename__):
        inbox.put("ANNOTATION_CREATED", PROJECT, BODIES[0])
    assert of(database, select(MessageRow.id)) == []


def test_to_say_how_a_message_fares_takes_no_look_at_bodies(inbox, database):
    message = inbox.put("ANNOTATION_CREATED", PROJECT, BODIES[0])
    lose_pieces(database)
    begun = Message(message, "ANNOTATION_CREATED", PROJECT, attempts=0, note="", body=b"")
    assert inbox.begin(begun)
    inbox.retry(message, "no answer")
    inbox.postpone(message, "Label Studio is away")
    assert inbox.backlog(PROJECT).waiting_problem == "Label Studio is away"
    inbox.fail(message, "image is 404")
    assert inbox.backlog(PROJECT).failed_problem == "image is 404"


def test_the_number_of_a_message_that_was_forgotten_is_no_other_messages(inbox):
    forgotten = inbox.put("ANNOTATION_CREATED", PROJECT, b"{}")
    inbox.forget(PROJECT)
    inbox.put("ANNOTATION_CREATED", OTHER, b"{}")
    inbox.done(forgotten)
    assert inbox.backlog(OTHER).waiting == 1
