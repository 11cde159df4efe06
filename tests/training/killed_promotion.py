"""A worker that is killed while it publishes or promotes a candidate.

`python -m tests.training.killed_promotion FOLDER TABLE MOMENT` continues job 1 of the folder, whose
gate says "promote", and sends itself SIGKILL when it writes the first row into the table: "before"
the row, "uncommitted" with the row written, "committed" with all of it on disk.
"""

import os
import signal
import sys
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.training.disc_project import job, open_stores, options
from training import improvement
from training.promotion import Decision


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


def main(folder, table, moment):
    improvement.improvement_report = lambda *rest: "{}"
    improvement.decide = lambda *rest: Decision("promote", ("as told",), None, None)
    stores = open_stores(folder)
    kill_at(table, moment)
    improvement.improve(job(folder), stores, options(), lambda *rest: None)
    if moment == "committed":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
