from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from ml_backend.learning.hints import HintedInbox, Hints
from ml_backend.learning.inbox import Inbox, MessageRow
from ml_backend.learning.projects import ProjectNews, ProjectRow, Projects
from ml_backend.learning.work_queue import NoDuties, declare_tasks, open_queue
from ml_backend.settings import Settings
from tests.waiting import wait_until
from training.errors import DatabaseError
from training.store.database import Database

PROJECT = "2.1"


def of_hints(caplog):
    return [record for record in caplog.records if record.name == Hints.__module__]


def test_a_hint_that_is_lost_is_one_line_in_the_log(tmp_path, caplog):
    settings = Settings(model_dir=tmp_path, queue_url="redis://127.0.0.1:1/0")
    queue = open_queue(settings)
    Hints(declare_tasks(queue, NoDuties())).train()
    # Whatever other tests of this process have left may have something to say as well.
    wait_until(lambda: of_hints(caplog))
    (record,) = of_hints(caplog)
    assert "127.0.0.1:1" in record.message
    assert record.exc_info is None


@dataclass
class Kept:
    """What a serving process keeps: messages have a database of their own."""

    state: Database
    messages: Database
    projects: Projects
    inbox: Inbox
    hinted: HintedInbox

    def put(self) -> None:
        self.hinted.put("ANNOTATION_CREATED", PROJECT, b"{}")


@pytest.fixture
def kept(tmp_path):
    """A project that missed a message."""
    state, messages = (Database(f"sqlite:///{tmp_path}/{name}.db") for name in ("state", "inbox"))
    projects, inbox = Projects(state), Inbox(messages)
    projects.remember(PROJECT, ProjectNews(title="Cells"))
    hints = Hints(declare_tasks(open_queue(Settings(model_dir=tmp_path)), NoDuties()))
    kept = Kept(state, messages, projects, inbox, HintedInbox(inbox, projects, hints))
    with lost(messages, MessageRow), pytest.raises(DatabaseError):
        kept.put()
    yield kept
    state.close()
    messages.close()


@contextmanager
def lost(database, table):
    with database.write() as session:
        session.execute(text(f"ALTER TABLE {table.__tablename__} RENAME TO lost"))
    yield
    with database.write() as session:
        session.execute(text(f"ALTER TABLE lost RENAME TO {table.__tablename__}"))


def test_a_message_is_kept_while_the_worker_writes_also_after_one_that_was_missed(kept):
    with kept.state.write():
        kept.put()
        assert kept.inbox.has_waiting()
    wait_until(kept.projects.is_reconcile_asked_for)
    assert not kept.hinted._missed  # and is asked for once


def test_what_cannot_be_asked_for_now_is_after_the_next_message(kept, caplog):
    with lost(kept.state, ProjectRow):
        kept.put()
        assert kept.inbox.has_waiting()
        wait_until(lambda: "missed is asked for after the next one" in caplog.text)
    kept.put()
    wait_until(kept.projects.is_reconcile_asked_for)
