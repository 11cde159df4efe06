"""Bodies as Label Studio 1.23.2 sends them: recorded ones, and variations made to measure."""

import copy
import json
from pathlib import Path

from ml_backend.label_studio import brush_rle

FIXTURES = Path(__file__).parent / "fixtures"
SIZE_HW = (321, 481)


def recorded(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())["body"]


def recorded_setup():
    return json.loads((FIXTURES / "backend_calls_on_connect.json").read_text())[1]["body"]


def keypoint(x, y, *, positive=True, id="kp1", label="Object"):
    """A smart keypoint at a percentage of the image."""
    return {
        "original_width": 481,
        "original_height": 321,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.26, "labels": [label], "keypointlabels": [label]},
        "is_positive": positive,
        "id": id,
        "from_name": "kp",
        "to_name": "image",
        "type": "keypointlabels",
        "origin": "manual",
    }


def by_hand(x, y, **fields):
    """A keypoint that was drawn without the magic tool, as `keypoint`."""
    item = keypoint(x, y, **fields)
    del item["is_positive"]
    return item


def clicks(*result, task=9):
    """/predict for what an annotator drew on one task."""
    body = copy.deepcopy(recorded("predict_click1_positive"))
    body["tasks"][0]["id"] = task
    body["params"]["context"]["result"] = list(result)
    return body


def batch(*tasks):
    """/predict for many tasks at once, from the Data Manager."""
    body = recorded("predict_batch_retrieve")
    body["tasks"] = list(tasks)
    return body


def saved_task(*result, task=9, kind="annotations"):
    """A task of a batch that carries regions in an annotation or prediction."""
    body = copy.deepcopy(recorded("predict_batch_retrieve")["tasks"][4])
    entry = {"id": 1, "result": list(result), "updated_at": "2026-11-22T06:15:33Z"}
    return {**body, "id": task, kind: [entry]}


def predict(client, body):
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json["results"]


def mask_of(region):
    """The mask of a region, (H, W) bool."""
    size_hw = region["original_height"], region["original_width"]
    return brush_rle.decode(region["value"]["rle"], size_hw)
