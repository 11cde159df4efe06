"""What the page of a job says of how it is doing."""

from datetime import timedelta

import pytest

from ml_backend.learning.fine_tune_jobs import JobRow
from ml_backend.learning.projects import ProjectNews
from tests.ml_backend.web.pages.reading import FORM, page
from training.moments import now


@pytest.fixture
def running(learning):
    """A job that a worker has begun, for tests that cancel it."""
    learning.projects.remember("22.1", ProjectNews("Works"))
    number = learning.jobs.request("22.1", "button")
    learning.jobs.claim("w", number)
    yield number
    learning.jobs.recover("w")


def told(client, number):
    return page(client, f"/projects/22/jobs/{number}")


def fall_silent(learning, number):
    with learning.stores.database.write() as session:
        session.get(JobRow, number).beat_at = now() - timedelta(hours=3)


def test_a_job_that_is_cancelled_has_no_time_left(client, running):
    assert "time left: unknown yet" in told(client, running)
    client.post(f"/projects/22/jobs/{running}/cancel", headers=FORM)
    assert "<strong>cancelling</strong>" in told(client, running)
    assert "time left" not in told(client, running)


def test_of_a_dead_worker_the_next_one_continues_the_job_or_ends_what_was_cancelled(
    client, learning, running
):
    fall_silent(learning, running)
    assert "</code>) continues it" in told(client, running)
    client.post(f"/projects/22/jobs/{running}/cancel", headers=FORM)
    assert "</code>) ends it" in told(client, running)
    learning.jobs.recover()
    assert learning.jobs.get(running).state == "cancelled", "as was said"


def test_of_a_job_that_ended_before_it_heard_of_the_cancel_that_is_said(client, learning, running):
    asked = client.post(f"/api/jobs/{running}/cancel", json={}).json
    assert (asked["cancelling"], asked["cancelled_too_late"]) == (True, False)
    learning.jobs.finish(running, "w", "promoted", "version 9 is live", 9)
    facts = client.get(f"/api/jobs/{running}").json
    assert (facts["state"], facts["cancelled_too_late"]) == ("finished", True)
    assert "version 9 is live; it was cancelled too late" in told(client, running)


def test_a_cancelled_job_is_said_to_be_cancelled_once(client, learning):
    learning.projects.remember("22.1", ProjectNews("Works"))
    number = learning.jobs.request("22.1", "button")
    learning.jobs.cancel(number)
    assert "<p>cancelled before it ran</p>" in told(client, number)
