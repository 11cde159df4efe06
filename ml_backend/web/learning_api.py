"""The learning side over REST: the same facts as the page, and the same things to do."""

from typing import Any

from flask import Blueprint, Response, jsonify, request

from ml_backend.auth import who
from ml_backend.backend import Backend
from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import read_json, read_text
from ml_backend.learning.assembly import Learning
from ml_backend.learning.hints import Hints
from ml_backend.learning.live_moves import make_move
from ml_backend.learning.next_job import ask_for_job
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
from ml_backend.web.request_body import request_body
from ml_backend.web.same_site import refuse_other_sites
from training.store.live_pointer import SITE, Mover

Answer = tuple[Response, int]


def learning_api(backend: Backend) -> Blueprint:
    """Return the routes below /api, bound to their collaborators."""
    routes = Blueprint("learning_api", __name__, url_prefix="/api")
    routes.before_request(refuse_other_sites)
    _tell(routes, backend.learning)
    _act(routes, backend.learning, backend.hints)
    return routes


def _tell(routes: Blueprint, learning: Learning) -> None:
    @routes.get("/projects")
    def projects() -> Response:
        return jsonify(project_list(learning))

    @routes.get("/projects/<name>")
    def project(name: str) -> Response:
        return jsonify(overview(learning, learning.projects.named(name), Part(50), Part(100)))

    @routes.get("/projects/<name>/versions")
    def versions(name: str) -> Response:
        return jsonify(versions=version_list(learning, learning.projects.key_of(name)))

    @routes.get("/versions/<int:number>")
    def version(number: int) -> Response:
        find_version(learning, number)
        return jsonify(version_facts(learning.stores.versions, number))

    @routes.get("/jobs/<int:number>")
    def job(number: int) -> Response:
        found = find_job(learning, number)
        return jsonify({**job_facts(found), "log": log_tail(learning, found)})


def _act(routes: Blueprint, learning: Learning, hints: Hints) -> None:
    @routes.post("/projects/<name>/jobs")
    def request_job(name: str) -> Answer:
        project = learning.projects.key_of(name)
        number = ask_for_job(learning, project, _text(_body("reason"), "reason", "REST"))
        hints.train()
        return jsonify(job_facts(learning.jobs.get(number))), 202

    @routes.post("/jobs/<int:number>/cancel")
    def cancel(number: int) -> Answer:
        find_job(learning, number)
        _body()
        learning.jobs.cancel(number)
        return jsonify(job_facts(learning.jobs.get(number))), 202

    @routes.post("/projects/<name>/reconcile")
    def reconcile(name: str) -> Answer:
        project = learning.projects.key_of(name)
        _body()
        learning.projects.ask_to_reconcile(project)
        return jsonify(status="the worker will compare the project within a minute"), 202

    @routes.post("/projects/<name>/live")
    def move(name: str) -> Response:
        return _moved(learning, learning.projects.key_of(name))

    @routes.post("/site/live")
    def move_site() -> Response:
        return _moved(learning, SITE)


def _moved(learning: Learning, project: str) -> Response:
    body = _body("move", "reason", "state", "version")
    version = _number(body, "version")
    if version is not None:
        find_version(learning, version, project)
    mover = Mover(who(), _text(body, "reason", "REST"), saw=_number(body, "state"))
    make_move(learning.stores.versions, project, _text(body, "move"), version, mover)
    return jsonify(live=live_facts(learning, project), moves=move_list(learning, project))


def _body(*keys: str) -> dict[str, Any]:
    """Return what was sent, which may have these keys."""
    if not request.is_json:
        # A form of another site cannot send this type without being asked first.
        raise RequestError("send a JSON object, with Content-Type: application/json")
    body = read_json(request_body())
    unknown = [key for key in body if key not in keys]
    if unknown:
        # A misspelt "state" would let a move happen that its sender meant to guard.
        wanted = ", ".join(keys) or "no key at all"
        raise RequestError(f"{unknown[0][:60]!r} does not belong here: the body may have {wanted}")
    return body


def _number(body: dict[str, Any], key: str) -> int | None:
    if key not in body:
        return None
    number = body[key]
    # null, too: a script that found no state did not mean to move without one
    if not isinstance(number, int) or isinstance(number, bool):
        raise RequestError(f'"{key}" must be a whole number')
    return number


def _text(body: dict[str, Any], key: str, default: str = "") -> str:
    return (read_text(body, key).strip() or default)[:500]
