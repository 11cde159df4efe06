"""What a running job tells its row, and what it does between two steps."""

import pytest

from ml_backend.learning import job_runner
from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.job_runner import Heart
from ml_backend.serving.click_mark import ClickMark
from tests.ml_backend.learning.worker.disc_tasks import PROJECT, move_back
from training.errors import DatabaseError


@pytest.fixture
def continued(learning):
    """A job that was begun twice before, each time by a worker that died, and is claimed again."""
    learning.jobs.request(PROJECT, "Start training")
    move_back(learning, JobRow, attempts=2)
    job = learning.jobs.claim("w")
    (learning.job_folders.make(job) / "plan.json").write_text("of the first attempt")
    return job


def attempts(learning, job):
    return learning.jobs.get(job.id).attempts


def test_an_attempt_that_leaves_nothing_new_counts(learning, continued):
    with Heart(learning, continued, None) as heart:
        heart.tell("training", 0, 300)
        folder = learning.job_folders.make(continued)
        (folder / "plan.json").write_text("written once more")
        (folder / "0001.png").write_bytes(b"decoded")
        (folder / ".unfinished.pt").write_bytes(b"half")
        heart.tell("judging the candidate", 0, 9)
    assert attempts(learning, continued) == 3


def test_an_attempt_that_got_further_is_the_first_of_the_next(learning, continued):
    with Heart(learning, continued, None) as heart:
        heart.tell("training", 0, 300)
        (learning.job_folders.make(continued) / "state-100.pt").write_bytes(b"weights")
        heart.tell("judging the candidate", 0, 9)
        assert attempts(learning, continued) == 1


def test_a_job_holds_still_after_a_click(learning, continued, monkeypatch):
    slept, mark = [], learning.settings.state_folder.last_click
    monkeypatch.setattr(job_runner, "sleep", slept.append)
    heart = Heart(learning, continued, None)
    heart.tell("training", 0, 300)
    ClickMark(mark).leave()
    clicked = mark.stat().st_mtime
    for now in (clicked + 0.25, clicked + 60):
        monkeypatch.setattr(job_runner, "time", lambda now=now: now)
        heart.tell("training", 1, 300)
    assert slept == [0, pytest.approx(0.75, abs=1e-3), 0]


def test_an_outage_of_the_database_is_said_once(learning, continued, monkeypatch, caplog):
    heart = Heart(learning, continued, None)

    def fail(*beat):
        raise DatabaseError("the database is away")

    with monkeypatch.context() as away:
        away.setattr(learning.jobs, "beat", fail)
        for stage in ("training", "judging the candidate", "training"):
            heart.tell(stage, 0, 300)
    heart.tell("judging the candidate", 0, 9)
    monkeypatch.setattr(learning.jobs, "beat", fail)
    heart.tell("training", 0, 300)
    said = [one for one in caplog.messages if "claim" in one]
    assert said == ["the claim could not be renewed: the database is away"] * 2
