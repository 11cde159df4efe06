"""What waits for a person is said wherever one looks, and so is a worker that is missing."""

import re
import threading
from datetime import timedelta

import pytest

from ml_backend.learning import attention, sign_of_life
from ml_backend.learning.fine_tune_jobs import LEASE, JobRow
from ml_backend.learning.projects import ProjectNews
from ml_backend.learning.sign_of_life import SignRow
from ml_backend.learning.worker import Worker
from tests.ml_backend.learning.worker.disc_tasks import move_back
from tests.ml_backend.web.pages.reading import page
from tests.training.disc_project import accept
from tests.waiting import PATIENCE, wait_until
from training.moments import now
from training.store.model_versions import Candidate
from training.store.sample_rows import SampleRow

PROJECT = "2.1795327560"
GONE = "The worker has not been seen since "
NEVER = "No worker has run yet, so nothing is learned from what was accepted"


@pytest.fixture
def learning(app):
    """The stores of the application, with one project."""
    learning = app.extensions["icmformer"].learning
    learning.projects.remember(PROJECT, ProjectNews("Discs"))
    return learning


def publish(learning, origin):
    versions = learning.stores.versions
    made = {"verdict": "ask", "scores": {"compared_with": 1}}
    return versions.publish(Candidate(origin, versions.checkpoint(1), project=PROJECT, **made))


def fail_a_job(learning):
    number = learning.jobs.request(PROJECT, "Start training")
    learning.jobs.fail(learning.jobs.claim("w").id, "w", "No space left on device")
    return number


def scraped(client, name):
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found)


def needs(client):
    return client.get("/api/projects").json["projects"][0]["needs_you"]


def test_where_nothing_waits_nothing_is_said(client, learning):
    assert needs(client) == {"versions": [], "failed_job": None, "failure": "", "gone": False}
    assert 'data-name="Needs you">no</td>' in page(client, "/projects/")
    assert "Discs" not in page(client, "/")
    assert scraped(client, "icmformer_versions_waiting") == 0
    assert scraped(client, "icmformer_projects_with_failed_job") == 0


def test_versions_that_wait_for_a_decision_are_said_everywhere(client, learning):
    first, second = publish(learning, "job 1"), publish(learning, "job 2")
    assert needs(client)["versions"] == [second, first]
    assert scraped(client, "icmformer_versions_waiting") == 2
    for path in ("/", "/projects/"):
        text = page(client, path)
        assert f'<a href="/projects/{PROJECT}/versions/{second}">version {second}</a>, ' in text
        assert f">version {first}</a> wait for a decision" in text
    client.post("/api/projects/2/live", json={"move": "keep", "version": first})
    assert needs(client)["versions"] == [second]
    assert f">version {second}</a> waits for a decision" in page(client, "/")
    *_, last = (publish(learning, f"job {number}") for number in (3, 4, 5))
    assert f">version {last - 2}</a> and 1 more wait for a decision" in page(client, "/")


def test_a_job_that_failed_is_said_everywhere_until_another_follows(client, learning):
    number = fail_a_job(learning)
    assert needs(client) | {"versions": []} == {
        "versions": [], "failed_job": number, "failure": "No space left on device", "gone": False,
    }  # fmt: skip
    assert scraped(client, "icmformer_projects_with_failed_job") == 1
    for path in ("/", "/projects/"):
        text = page(client, path)
        assert f'/jobs/{number}">job {number}</a> failed: No space left on device' in text
    learning.jobs.request(PROJECT, "again")
    assert scraped(client, 'icmformer_jobs{state="waiting"}') == 1
    assert needs(client)["failed_job"] is None
    learning.jobs.claim("w")
    assert scraped(client, 'icmformer_jobs{state="running"}') == 1
    assert needs(client)["failed_job"] is None
    learning.jobs.fail(number + 1, "w", "No space left on device")
    assert needs(client)["failed_job"] == number + 1
    learning.jobs.request(PROJECT, "again")
    learning.jobs.finish(learning.jobs.claim("w").id, "w", "not better", "no better", 2)
    assert needs(client)["failed_job"] is None
    assert scraped(client, 'icmformer_jobs{state="running"}') == 0


def test_whoever_cancels_what_follows_a_failed_job_knows_of_it(client, learning):
    fail_a_job(learning)
    learning.jobs.cancel(learning.jobs.request(PROJECT, "again"))
    assert needs(client)["failed_job"] is None


def test_a_job_that_fails_after_the_one_behind_it_was_cancelled_is_said(client, learning):
    running = learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("w")
    learning.jobs.cancel(learning.jobs.request(PROJECT, "20 new samples"))
    learning.jobs.fail(running, "w", "No space left on device")
    assert needs(client)["failed_job"] == running


def test_a_project_that_label_studio_has_no_more_is_said_everywhere(client, learning):
    known = learning.projects.find(PROJECT)
    learning.projects.not_reconciled(known, "Label Studio has no project 2", is_gone=True)
    publish(learning, "job 1")
    assert needs(client)["gone"] is True
    for path in ("/", "/projects/"):
        text = page(client, path)
        assert "waits for a decision; Label Studio has it no more" in text
        assert f"python -m ml_backend forget --project {PROJECT} --yes" in text
    learning.projects.reconciled(known, "1 annotation compared")
    assert needs(client)["gone"] is False


def test_a_missing_worker_is_said_once_something_waits_for_it(client, learning):
    assert "never seen yet" in page(client, "/")
    assert client.get("/api/projects").json["worker"] == {"seen_at": None, "problem": ""}
    learning.inbox.put("ANNOTATION_CREATED", PROJECT, b"{}")
    for path in ("/", "/projects/"):
        assert NEVER in page(client, path)
    assert scraped(client, "icmformer_worker_seen_timestamp_seconds") == 0


def test_a_worker_is_seen_while_it_ticks_and_missed_when_it_stops(client, learning):
    before = now()
    Worker(learning, threading.Event()).tick()
    for path in ("/", "/projects/"):
        text = page(client, path)
        assert any(f"seen {day:%Y-%m-%d}" in text for day in (before, now()))
        assert GONE not in text
    seen = scraped(client, "icmformer_worker_seen_timestamp_seconds")
    assert abs(now().timestamp() - seen) < 60
    move_back(learning, SignRow, given_at=now() - timedelta(minutes=6))
    learning.jobs.request(PROJECT, "Start training")
    for path in ("/", "/projects/"):
        assert GONE in page(client, path)
    assert GONE in client.get("/api/projects").json["worker"]["problem"]
    Worker(learning, threading.Event()).tick()
    assert GONE not in page(client, "/")


def run_and_die(learning):
    learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("w")
    move_back(learning, JobRow, beat_at=now() - 3 * LEASE)


def accept_enough(learning):
    for disc in range(learning.settings.fine_tune_after):
        accept(learning.samples, disc, PROJECT)


def accept_enough_and_go(learning):
    accept_enough(learning)
    move_back(learning, SampleRow, stored_at=now() - timedelta(hours=1))


def fail_long_ago(learning):
    fail_a_job(learning)
    move_back(learning, JobRow, finished_at=now() - timedelta(hours=1))


@pytest.mark.parametrize(
    "let_wait",
    [
        lambda learning: learning.jobs.request(PROJECT, "Start training"),
        lambda learning: learning.inbox.put("ANNOTATION_CREATED", PROJECT, b"{}"),
        lambda learning: learning.projects.ask_to_reconcile(PROJECT),
        run_and_die,
        accept_enough_and_go,
        fail_long_ago,
    ],
    ids=[
        "a job",
        "a message",
        "a comparison",
        "a job that runs no more",
        "enough masks",
        "another try",
    ],
)
def test_a_worker_that_was_retired_is_missed_once_something_waits(client, learning, let_wait):
    last = now() - timedelta(days=100)
    learning.sign_of_life.give()
    move_back(learning, SignRow, given_at=last)
    assert f"seen {last:%Y-%m-%d %H:%M} UTC" in page(client, "/")
    assert GONE not in page(client, "/")
    assert GONE not in page(client, "/projects/")
    assert client.get("/api/projects").json["worker"]["problem"] == ""
    seen = scraped(client, "icmformer_worker_seen_timestamp_seconds")
    assert abs(last.timestamp() - seen) < 1
    let_wait(learning)
    assert GONE in page(client, "/")


def test_a_worker_that_was_retired_is_not_missed_before_training_is_due(client, learning):
    learning.sign_of_life.give()
    move_back(learning, SignRow, given_at=now() - timedelta(days=100))
    accept_enough(learning)
    fail_a_job(learning)
    assert GONE not in page(client, "/")


def test_a_sign_that_was_given_before_the_clock_was_set_back_is_none():
    ahead = now() + timedelta(days=30)
    assert not sign_of_life.is_here(ahead)


def test_a_job_whose_worker_died_says_since_when(client, learning):
    number = learning.jobs.request(PROJECT, "Start training")
    learning.jobs.claim("w")
    assert client.get(f"/api/jobs/{number}").json["silent"] is False
    assert "no sign of life" not in page(client, f"/projects/2/jobs/{number}")
    last = now() - 3 * LEASE
    move_back(learning, JobRow, beat_at=last)
    facts = client.get(f"/api/jobs/{number}").json
    assert (facts["silent"], facts["beat_at"]) == (True, f"{last:%Y-%m-%dT%H:%M:%SZ}")
    for path in (f"/projects/2/jobs/{number}", "/projects/2"):
        assert f"no sign of life since {last:%Y-%m-%d %H:%M} UTC" in page(client, path)
    learning.jobs.cancel(number)
    learning.jobs.recover()
    assert client.get(f"/api/jobs/{number}").json["silent"] is False


def test_a_database_that_is_away_takes_neither_the_page_nor_a_scrape_away(client, learning):
    fail_a_job(learning)
    database = learning.settings.model_dir / "state.db"
    learning.stores.database.close()
    for file in learning.settings.model_dir.glob("state.db*"):
        file.rename(file.with_name(f"away-{file.name}"))
    database.mkdir()
    assert "What waits is unknown: the database" in page(client, "/")
    scrape = client.get("/metrics")
    assert scrape.status_code == 200
    assert "icmformer_ready 0.0" in scrape.text
    assert "icmformer_versions_waiting" not in scrape.text


def test_a_database_that_hangs_keeps_nobody_who_asks(client, learning, monkeypatch):
    fail_a_job(learning)
    assert "icmformer_projects_with_failed_job 1.0" in client.get("/metrics").text
    monkeypatch.setattr(attention, "_PATIENCE_SECONDS", 0.1)
    answer, look = threading.Event(), attention.look

    def hang(learning):
        answer.wait(PATIENCE)
        return look(learning)

    monkeypatch.setattr(attention, "look", hang)
    assert "icmformer_projects_with_failed_job" not in client.get("/metrics").text
    assert "the database does not answer" in page(client, "/")
    answer.set()
    wait_until(lambda: "icmformer_projects_with_failed_job 1.0" in client.get("/metrics").text)
