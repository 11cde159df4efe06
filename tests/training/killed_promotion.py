"""A worker that is killed while it publishes or promotes a candidate."""

import os
import signal

from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.training.disc_project import job, open_stores, options, quiet
from training.fine_tuning import improvement
from training.fine_tuning.promotion import Decision


def kill_at(table, moment):
    """Let this process die at that moment."""
    written = []

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Engine, "before_cursor_execute")
    def before_statement(connection, cursor, statement, *rest):
        if moment == "committed" and written and statement.startswith("BEGIN"):
            die()
        if statement.startswith(f"INSERT INTO {table} "):
            written.append(statement)
            if moment == "before":
                die()

    @event.listens_for(Engine, "commit")
    def before_commit(connection):
        if moment == "uncommitted" and written:
            die()


def work(folder, table, moment):
    """Continue job 1, whose gate says "promote", and die at the first row for a table.

    Args:
        folder: of the project.
        table: its name.
        moment: "before" the row, "uncommitted" with the row written, "committed" with it on disk.
    """
    improvement.improvement_report = lambda *rest: {}
    improvement.decide = lambda *rest: Decision("promote", ("as told",), None, None)
    stores = open_stores(folder)
    kill_at(table, moment)
    improvement.improve(job(folder), stores, options(), quiet)
    if moment == "committed":
        os.kill(os.getpid(), signal.SIGKILL)
