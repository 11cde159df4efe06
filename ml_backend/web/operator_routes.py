"""The addresses for people, orchestrators and Prometheus; Label Studio asks /health, too."""

from flask import Blueprint, Response, g, jsonify
from prometheus_client import CONTENT_TYPE_LATEST

from ml_backend.backend import Backend
from ml_backend.web.rendered_pages import rendered
from ml_backend.web.status import status

# Anyone may ask for these: an orchestrator has no login, and the answers say nothing else.
PUBLIC = frozenset({"operators.health", "operators.ready"})


def operator_routes(backend: Backend) -> Blueprint:
    """Return the routes, bound to their collaborators."""
    routes = Blueprint("operators", __name__)

    @routes.get("/health")
    def health() -> Response:
        """Say that the process lives; touches nothing that could be busy."""
        return jsonify(status="UP")

    @routes.get("/ready")
    def ready() -> tuple[Response, int]:
        """Say whether a network has answered once."""
        if backend.readiness.ready:
            return jsonify(status="READY"), 200
        told = {"error": "; ".join(backend.models.problems())} if g.get("may_know", True) else {}
        return jsonify(status="LOADING", **told), 503

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(backend.metrics.render(), content_type=CONTENT_TYPE_LATEST)

    @routes.get("/")
    def page() -> Response:
        return rendered("status.html", **status(backend))

    return routes
