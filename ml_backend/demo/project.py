"""A project with sample images and an interactive backend; made once, completed when needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_backend.demo.rest_api import RestApi

IMAGES = Path(__file__).with_name("images")
TITLE = "iCMFormer demo"
BACKEND_TITLE = "iCMFormer"

# The labels to click with are above the image, where they stay in sight. Brush labels must have
# the same names; smart="false" keeps the brush out of the magic tools. maxWidth leaves the tools
# their room: Label Studio 1.23 forgets it and hides the image's borders until somebody zooms.
LABELING_CONFIG = """\
<View>
  <KeyPointLabels name="click" toName="image" smart="true" smartOnly="true">
    <Label value="Object" background="#FF3B30"/>
    <Label value="Other" background="#007AFF"/>
  </KeyPointLabels>
  <Image name="image" value="$image" zoom="true" zoomControl="true" maxWidth="calc(100% - 50px)"/>
  <Header size="5" value="Brush, to correct a mask by hand"/>
  <BrushLabels name="mask" toName="image" smart="false">
    <Label value="Object" background="#FF3B30"/>
    <Label value="Other" background="#007AFF"/>
  </BrushLabels>
</View>
"""

# what Label Studio would do by itself does not suit a backend that answers clicks
_SETTINGS = {
    "show_collab_predictions": False,
    "evaluate_predictions_automatically": False,
    "enable_empty_annotation": False,
}


def ensure(api: RestApi, title: str, labeling_config: str, images: Sequence[Path]) -> int:
    """The id of the project called `title`, made with these images if there is none.

    A project that exists keeps its configuration, its tasks and all annotations.
    """
    project = _find(api.get("/api/projects/", title=title)["results"], title)
    if project is None:
        project = api.post("/api/projects/", {"title": title, "label_config": labeling_config})
    identifier = int(project["id"])
    if not project.get("task_number"):
        api.patch(f"/api/projects/{identifier}/", _SETTINGS)
        import_images(api, identifier, images)
    return identifier


def import_images(api: RestApi, project: int, images: Sequence[Path]) -> None:
    """Upload the image files, each as a task, in this order."""
    for image in images:
        with image.open("rb") as data:
            api.post(f"/api/projects/{project}/import", files={"file": (image.name, data)})


def task_ids(api: RestApi, project: int) -> list[int]:
    """The tasks of a project, oldest first."""
    tasks = api.get("/api/tasks/", project=project, page_size=1000)["tasks"]
    return sorted(int(task["id"]) for task in tasks)


def connect(api: RestApi, project: int, backend_url: str) -> dict[str, Any]:
    """Make the backend at `backend_url` the interactive one of the project.

    Returns Label Studio's record of it: `id`, `url`, `model_version` among others.

    A connection made earlier, to another port perhaps, is pointed at this address, and so is its
    webhook, which sends all events, as Label Studio makes it.
    """
    body: dict[str, Any] = {"url": backend_url, "project": project, "is_interactive": True}
    known = _find(api.get("/api/ml/", project=project), BACKEND_TITLE)
    if known is None:
        known = api.post("/api/ml/", {**body, "title": BACKEND_TITLE})
    elif known["url"] != backend_url:
        known = api.patch(f"/api/ml/{known['id']}", body)
    _point_webhook(api, project, f"{backend_url}/webhook")
    connection: dict[str, Any] = api.get(f"/api/ml/{known['id']}")
    return connection


def _point_webhook(api: RestApi, project: int, url: str) -> None:
    body = {"url": url, "project": project, "send_payload": True, "send_for_all_actions": True}
    webhooks = [hook for hook in api.get("/api/webhooks/", project=project) if hook["project"]]
    ours = next((hook for hook in webhooks if hook["url"].endswith("/webhook")), None)
    if ours is None:
        api.post("/api/webhooks/", body)
    else:
        api.patch(f"/api/webhooks/{ours['id']}/", body)


def _find(rows: Sequence[dict[str, Any]], title: str) -> dict[str, Any] | None:
    return next((row for row in rows if row["title"] == title), None)
