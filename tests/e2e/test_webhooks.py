"""Saved annotations reach the backend, also where it asks for a login."""

import pytest
import requests

from ml_backend.connection.webhook_checks import is_host_for_webhooks
from ml_backend.demo import project as demo
from tests.e2e.conftest import IMAGES
from tests.ml_backend.connection.test_webhook_checks import HOSTS
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LOGIN = ("label-studio", "between us")


def heard_of(
    backend, action: str = "ANNOTATION_CREATED", login: tuple[str, str] | None = None
) -> float:
    """How many webhooks with this action the backend got."""
    page = requests.get(f"{backend.url}/metrics", auth=login, timeout=PATIENCE)
    page.raise_for_status()
    counts = [
        float(line.rsplit(" ", 1)[1])
        for line in page.text.splitlines()
        if line.startswith(f'icmformer_webhooks_total{{action="{action}"}}')
    ]
    return sum(counts)


def save_annotation(api, project: int) -> None:
    (task,) = demo.task_ids(api, project)
    api.post(f"/api/tasks/{task}/annotations/", {"result": []})


def test_saved_annotation_arrives(backend, new_project, label_studio):
    project = new_project(backend, IMAGES / "cat.jpg")
    before = heard_of(backend)
    save_annotation(label_studio.api, project)
    # Label Studio sends the event before it answers
    assert heard_of(backend) == before + 1


def test_imported_and_deleted_tasks_arrive(backend, new_project, label_studio):
    project = new_project(backend, IMAGES / "cat.jpg")
    actions = ("TASKS_CREATED", "TASKS_DELETED")
    before = [heard_of(backend, action) for action in actions]
    (task,) = demo.task_ids(label_studio.api, project)
    demo.import_images(label_studio.api, project, [IMAGES / "coffee.jpg"])
    label_studio.api.post(
        f"/api/dm/actions?id=delete_tasks&project={project}",
        {"selectedItems": {"all": False, "included": [task]}},
    )
    assert [heard_of(backend, action) for action in actions] == [one + 1 for one in before]


def test_backend_with_a_login(start_backend, new_project, label_studio):
    api = label_studio.api
    backend = start_backend(
        BASIC_AUTH_USER=LOGIN[0],
        BASIC_AUTH_PASS=LOGIN[1],
        LABEL_STUDIO_URL=label_studio.url,
        LABEL_STUDIO_API_KEY=label_studio.login.token,
    )
    assert requests.post(f"{backend.url}/webhook", json={}, timeout=PATIENCE).status_code == 401
    images = [IMAGES / "cat.jpg"]
    project = demo.ensure(api, "login", demo.LABELING_CONFIG, images)
    connection = {"url": backend.url, "project": project, "title": "guarded"}
    api.post(
        "/api/ml/",
        {
            **connection,
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": LOGIN[0],
            "basic_auth_pass": LOGIN[1],
        },
    )

    def has_login():
        # whenever somebody looks at the project, Label Studio asks the backend again
        api.get("/api/ml/", project=project)
        return api.get("/api/webhooks/", project=project)[0]["headers"]

    wait_until(has_login, every=1)
    save_annotation(api, project)
    assert heard_of(backend, login=LOGIN) == 1


def test_hosts_that_label_studio_makes_webhooks_to(label_studio):
    api = label_studio.api
    project = demo.ensure(api, "hosts", demo.LABELING_CONFIG, [IMAGES / "cat.jpg"])
    for host in HOSTS:
        address = f"http://[{host}]:9090/webhook" if ":" in host else f"http://{host}:9090/webhook"
        answer = requests.post(
            f"{label_studio.url}/api/webhooks/",
            json={"project": project, "url": address},
            headers={"Authorization": f"Token {label_studio.login.token}"},
            timeout=PATIENCE,
        )
        assert answer.status_code == (201 if is_host_for_webhooks(host) else 400), host
        assert answer.ok or "Enter a valid URL" in answer.text
