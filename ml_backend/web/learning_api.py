"""The learning side over REST: the same facts as the page, and the same things to do."""

from typing import Any

from flask import Blueprint, Response, jsonify, request

from ml_backend.auth import who
from ml_backend.backend import Backend
from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import read_text
from ml_backend.learning.live_moves import make_move
from ml_backend.web.learning_facts import (
    Part,
    job_facts,
    live_facts,
    log_tail,
    move_list,
    overview,
    project_list,
    version_facts,
    version_list,
)
from ml_backend.web.lookups import find_job, find_version
from ml_backend.web.same_site import refuse_other_sites
from training.store.live_pointer import SITE, Mover

Answer = tuple[Response, int]

_KEYS = ("move", "reason", "state", "version")  # of all bodies


def learning_api(backend: Backend) -> Blueprint:
    """Return the routes below /api, bound to their collaborators."""
    api = _Api(backend)
    routes = Blueprint("learning_api", __name__, url_prefix="/api")
    routes.before_request(refuse_other_sites)
    for method, rule, view in (
        ("GET", "/projects", api.projects),
        ("GET", "/projects/<name>", api.project),
        ("POST", "/projects/<name>/jobs", api.request_job),
        ("POST", "/projects/<name>/reconcile", api.ask_to_reconcile),
        ("GET", "/projects/<name>/versions", api.versions),
        ("POST", "/projects/<name>/live", api.move),
        ("POST", "/site/live", api.move_site),
        ("GET", "/jobs/<int:number>", api.job),
        ("POST", "/jobs/<int:number>/cancel", api.cancel),
        ("GET", "/versions/<int:number>", api.version),
    ):
        routes.add_url_rule(rule, f"{method} {rule}".replace(".", "-"), view, methods=[method])
    return routes


class _Api:
    """One method a route."""

    def __init__(self, backend: Backend) -> None:
        self._learning = backend.learning
        self._hints = backend.hints

    def projects(self) -> Response:
        return jsonify(project_list(self._learning))

    def project(self, name: str) -> Response:
        project = self._learning.projects.named(name)
        return jsonify(overview(self._learning, project, Part(50), Part(100)))

    def request_job(self, name: str) -> Answer:
        project = self._learning.projects.key_of(name)
        job = self._learning.jobs.request(project, _text("reason", "REST"))
        self._hints.train()
        return jsonify(job_facts(self._learning.jobs.get(job))), 202

    def ask_to_reconcile(self, name: str) -> Answer:
        self._learning.projects.ask_to_reconcile(self._learning.projects.key_of(name))
        return jsonify(status="the worker will compare the project within a minute"), 202

    def versions(self, name: str) -> Response:
        project = self._learning.projects.key_of(name)
        return jsonify(versions=version_list(self._learning, project))

    def version(self, number: int) -> Response:
        find_version(self._learning, number)
        return jsonify(version_facts(self._learning.stores.versions, number))

    def job(self, number: int) -> Response:
        job = find_job(self._learning, number)
        return jsonify({**job_facts(job), "log": log_tail(self._learning, job)})

    def cancel(self, number: int) -> Answer:
        find_job(self._learning, number)
        self._learning.jobs.cancel(number)
        return jsonify(job_facts(self._learning.jobs.get(number))), 202

    def move(self, name: str) -> Response:
        return self._move(self._learning.projects.key_of(name))

    def move_site(self) -> Response:
        return self._move(SITE)

    def _move(self, project: str) -> Response:
        version = _number("version")
        if version is not None:
            find_version(self._learning, version, project)
        mover = Mover(who(), _text("reason", "REST"), saw=_number("state"))
        make_move(self._learning.stores.versions, project, _text("move"), version, mover)
        live, moves = live_facts(self._learning, project), move_list(self._learning, project)
        return jsonify(live=live, moves=moves)


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        # A form of another site cannot send this type without being asked first.
        raise RequestError("send a JSON object, with Content-Type: application/json")
    unknown = [key for key in body if key not in _KEYS]
    if unknown:
        # A misspelt "state" would let a move happen that its sender meant to guard.
        raise RequestError(f"{unknown[0][:60]!r} is not one of {', '.join(_KEYS)}")
    return body


def _number(key: str) -> int | None:
    number = _body().get(key)
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        raise RequestError(f'"{key}" must be a whole number')
    return number


def _text(key: str, default: str = "") -> str:
    return (read_text(_body(), key).strip() or default)[:500]
