"""The addresses that Label Studio asks, besides /health: one function each, a few lines long.

It waits 3 s for /setup and /versions, 100 s for /predict, 1 s for /webhook, and repeats none.
"""

import time
from typing import Any

from flask import Blueprint, Response, jsonify, request

from ml_backend import protocol
from ml_backend.backend import Backend
from ml_backend.connecting import connect
from ml_backend.model import ICMFormerModel
from ml_backend.people import refuse_other_sites
from ml_backend.projects import project_number


def protocol_routes(backend: Backend) -> Blueprint:
    """Return the routes, bound to their collaborators."""
    routes = Blueprint("protocol", __name__)
    routes.before_request(refuse_other_sites)
    model = ICMFormerModel(backend=backend)

    @routes.post("/setup")
    def setup() -> Response:
        asked = protocol.read_setup(request.get_data())
        return jsonify(connect(asked, request.host, backend))

    @routes.post("/predict")
    def predict() -> Response:
        asked = protocol.read_predict(request.get_data())
        started = time.perf_counter()
        with backend.admission.place():
            predictions = model.predict(
                asked.tasks,
                context=asked.context,
                label_config=asked.label_config,
                project=asked.project,
            )
        _note(asked, predictions, time.perf_counter() - started, backend)
        return jsonify(results=predictions)

    @routes.post("/webhook")
    def webhook() -> tuple[Response, int]:
        body = request.get_data()
        event = protocol.read_webhook(body)
        model.fit(event=event.action, data=event.payload, body=body)
        return jsonify(status="accepted"), 201

    @routes.get("/versions")
    def versions() -> Response:
        project = request.args.get("project", "")
        return jsonify(versions=backend.models.pointer.names(project))

    return routes


def _note(
    asked: protocol.PredictRequest,
    predictions: list[dict[str, Any]],
    seconds: float,
    backend: Backend,
) -> None:
    """Remember a request for the metrics and the page."""
    kind = "batch" if asked.context is None else "click"
    backend.metrics.predict_seconds.labels(kind).observe(seconds)
    masks = sum(len(prediction["result"]) for prediction in predictions)
    errors = [prediction["error"] for prediction in predictions if "error" in prediction]
    version = predictions[0]["model_version"] if predictions else ""
    backend.recent.add(
        kind,
        "; ".join(errors[:3]) or f"{masks} mask{'' if masks == 1 else 's'} by {version}",
        project=project_number(asked.project),
        task=protocol.task_number(asked.tasks[0]) if len(asked.tasks) == 1 else "",
        failed=bool(errors),
        milliseconds=1000 * seconds,
    )
