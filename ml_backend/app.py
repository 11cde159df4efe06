"""The application: routes, login and errors around the collaborators."""

from flask import Flask, Response, request

from ml_backend.auth import require_login
from ml_backend.backend import Backend, build_backend
from ml_backend.settings import MEGABYTE, Settings
from ml_backend.web.http_errors import answer_errors
from ml_backend.web.learning_api import learning_api
from ml_backend.web.learning_pages import learning_pages
from ml_backend.web.operator_routes import PUBLIC, operator_routes
from ml_backend.web.protocol_routes import protocol_routes
from ml_backend.web.same_site import keep_nothing, redirect_to_paths, refuse_frames

WEBHOOK_WITHOUT_LOGIN = (
    "refused: it came without the right login, so nothing is learned from it. Opening the "
    "project's Model page makes this backend set the Authorization header of its webhook; or set "
    "it by hand under Settings > Webhooks"
)


def create_app(settings: Settings, cores: int | None = None) -> Flask:
    """Return the WSGI application; nothing is shared with another one.

    Args:
        settings: what the operator chose.
        cores: as for `ml_backend.backend.build_backend`.

    Raises:
        SettingsError: if the settings cannot be used.
    """
    backend = build_backend(settings, cores)
    app = Flask(__name__)
    app.extensions["icmformer"] = backend
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb * MEGABYTE
    require_login(app, settings.credentials, PUBLIC)
    answer_errors(app, backend.metrics)
    app.register_blueprint(protocol_routes(backend))
    app.register_blueprint(operator_routes(backend))
    app.register_blueprint(learning_pages(backend))
    app.register_blueprint(learning_api(backend))
    app.after_request(refuse_frames)
    app.after_request(keep_nothing)
    app.after_request(redirect_to_paths)
    _note_responses(app, backend)
    return app


def _note_responses(app: Flask, backend: Backend) -> None:
    @app.after_request
    def note(response: Response) -> Response:
        # Paths come from outside; only those that exist may become a series.
        route = request.url_rule.rule if request.url_rule else "unknown"
        backend.metrics.responses.labels(route, str(response.status_code)).inc()
        if route in ("/predict", "/webhook") and response.status_code >= 400:
            _note_refusal(route.removeprefix("/"), response, backend)
        return response


def _note_refusal(kind: str, response: Response, backend: Backend) -> None:
    """Show what nobody would notice: Label Studio ignores what webhooks answer, for one."""
    if response.status_code != 401:
        backend.recent.add(kind, response.get_json()["error"], failed=True)
    elif kind == "webhook":
        backend.recent.add(kind, WEBHOOK_WITHOUT_LOGIN, failed=True)
