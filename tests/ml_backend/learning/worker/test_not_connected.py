"""Nothing new is taken from a project to which Label Studio says that no model is connected."""

import pytest
from werkzeug.exceptions import Forbidden

from tests.ml_backend.learning.worker.disc_tasks import PROJECT, deliver, tasks_with_samples


class Refusing(list):
    """A list of requests; one kind of them is answered with 403."""

    def append(self, asked):
        super().append(asked)
        if "/api/ml/" in asked[1]:
            raise Forbidden


@pytest.fixture
def project(learning, worker, server):
    """Returns what is known of the project, which a message has brought with one sample."""
    deliver(learning, server, 1)
    worker.ingest()
    return lambda: learning.projects.find(PROJECT)


def test_a_project_without_a_model_is_not_learned_from(learning, worker, server, project):
    connected = server.ml_backends[:]
    server.ml_backends.clear()
    learning.projects.ask_to_reconcile(PROJECT)
    worker.reconcile_due()
    assert tasks_with_samples(learning) == [1]
    assert project().state == "not connected"
    assert not project().is_reconcile_asked_for
    assert project().told == (
        "no model is connected to the project in Label Studio, so nothing is taken from it: "
        "connect this backend there under Settings > Model, or delete what is kept with python -m "
        f"ml_backend forget --project {PROJECT} --yes"
    )
    server.tasks = []  # and nothing is withdrawn
    assert worker.reconcile(project()).succeeded
    assert tasks_with_samples(learning) == [1]
    assert not server.paths("/api/tasks/")
    server.ml_backends += connected
    assert worker.reconcile(project()).sentence == "0 annotations compared, 1 withdrawn"
    assert project().state == "connected"


def test_where_label_studio_does_not_say_what_is_connected_all_is_compared(
    learning, worker, server, project
):
    server.ml_backends.clear()
    server.webhooks.clear()
    server.requests = Refusing()
    assert worker.reconcile(project()).sentence == "24 annotations compared, 0 withdrawn"
    assert server.paths("/api/ml/")
    assert len(tasks_with_samples(learning)) == 24
    assert project().state == "connected"


def test_what_label_studio_deleted_is_gone(learning, worker, server, project):
    server.project["id"] = 2
    assert not worker.reconcile(project()).succeeded
    assert project().state == "gone"


def test_one_annotation_is_one(worker, server, project):
    server.tasks = server.tasks[:1]
    assert worker.reconcile(project()).sentence == "1 annotation compared, 1 withdrawn"
