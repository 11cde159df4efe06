"""A Label Studio with annotated discs, and what its webhooks say; shared by the worker's tests."""

import json

from sqlalchemy import select

from ml_backend.label_studio import brush_rle
from tests.training.disc_project import disc
from training.store.sample_rows import AnnotationRow, SampleRow

PROJECT = "1.1795327560"
CREATED_AT = "2026-11-22T06:06:00.942531Z"


def task(number):
    """A task of the stand-in with one accepted disc."""
    _, mask = disc(number)
    region = {
        "id": f"r{number}", "type": "brushlabels", "from_name": "brush", "to_name": "image",
        "original_width": mask.shape[1], "original_height": mask.shape[0],
        "value": {"format": "rle", "rle": brush_rle.encode(mask), "brushlabels": ["Object"]},
    }  # fmt: skip
    annotation = {
        "id": 100 + number, "task": number, "was_cancelled": False, "result": [region],
        "updated_at": f"2026-11-22T06:15:{number % 60:02}.256890Z",
    }  # fmt: skip
    data = {"image": f"/data/upload/1/0123abcd-{number}.png"}
    return {"id": number, "data": data, "annotations": [annotation]}


def webhook(server, number, action="ANNOTATION_CREATED"):
    found = task(number)
    (annotation,) = found.pop("annotations")
    return {"action": action, "annotation": annotation, "task": found, "project": server.project}


def deliver(learning, server, *numbers, **options):
    for number in numbers:
        body = webhook(server, number, **options)
        learning.inbox.put(body["action"], PROJECT, json.dumps(body).encode())


def tasks_with_samples(learning):
    with learning.stores.database.read() as session:
        return sorted(session.scalars(select(AnnotationRow.task).join(SampleRow)))


def move_back(learning, row_type, **changes):
    """Change every row, such as the time when it was written."""
    with learning.stores.database.write() as session:
        for row in session.scalars(select(row_type)):
            for name, value in changes.items():
                setattr(row, name, value)
