"""The addresses that Label Studio asks, besides /health: one function each, a few lines long.

It waits 3 s for /setup and /versions, 100 s for /predict, 1 s for /webhook, and repeats none.
"""

import time
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from ml_backend.backend import Backend
from ml_backend.label_studio import protocol
from ml_backend.label_studio.project_keys import project_key, project_number
from ml_backend.model import ICMFormerModel
from ml_backend.web.connecting import connect
from ml_backend.web.http_errors import refusal_of_size
from ml_backend.web.request_body import request_body
from ml_backend.web.same_site import refuse_other_sites
from training.written_numbers import counted


def protocol_routes(backend: Backend) -> Blueprint:
    """Return the routes, bound to their collaborators."""
    routes = Blueprint("protocol", __name__)
    routes.before_request(refuse_other_sites)
    model = ICMFormerModel(backend=backend)

    @routes.post("/setup")
    def setup() -> Response:
        asked = protocol.read_setup(request_body())
        return jsonify(connect(asked, request.host + request.script_root, backend))

    @routes.post("/predict")
    def predict() -> Response:
        try:
            body = request_body()
        except RequestEntityTooLarge as error:
            return _asked_too_much_at_once(error, backend)
        asked = protocol.read_predict(body)
        started = time.perf_counter()
        with backend.admission.place():
            predictions = model.predict(
                asked.tasks,
                context=asked.context,
                label_config=asked.label_config,
                project=asked.project,
            )
        _note(asked, predictions, time.perf_counter() - started, backend)
        in_batch = asked.context is None
        return jsonify(results=[_to_store(one) if in_batch else one for one in predictions])

    @routes.post("/webhook")
    def webhook() -> tuple[Response, int]:
        body = request_body()
        event = protocol.read_webhook(body)
        model.fit(event=event.action, data=event.payload, body=body)
        return jsonify(status="accepted"), 201

    @routes.get("/versions")
    def versions() -> Response:
        project = model.known_key(project_key(request.args.get("project", "")))
        return jsonify(versions=backend.pointer.names(project))

    return routes


def _to_store(prediction: dict[str, Any]) -> dict[str, Any] | list[Any]:
    """Return what Label Studio stores of a prediction: nothing where there is no mask.

    It would store an empty result, too, and never again ask this version for the task. Of an
    answer without a result it stores nothing, and writes it into its log.
    """
    if prediction["result"]:
        return prediction
    if "error" in prediction:
        return {"error": prediction["error"], "model_version": prediction["model_version"]}
    return []


def _asked_too_much_at_once(error: RequestEntityTooLarge, backend: Backend) -> Response:
    """Answer with a single entry: Label Studio then asks for the tasks one by one.

    It puts all chosen tasks into one body, and of a 413 it says that all went well.
    """
    sentence = refusal_of_size(error, backend.metrics)
    backend.recent.add("predict", sentence, failed=True)
    return jsonify(results=[{"error": sentence}])


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
        "; ".join(errors[:3]) or f"{counted(masks, 'mask')} by {version}",
        project=project_number(asked.project),
        task=protocol.task_number(asked.tasks[0]) if len(asked.tasks) == 1 else "",
        failed=bool(errors),
        milliseconds=1000 * seconds,
    )
