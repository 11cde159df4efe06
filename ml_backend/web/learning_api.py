"""The learning side over REST: the same facts as the page, and the same things to do."""

from collections.abc import Collection, Iterable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from ml_backend.auth import who
from ml_backend.backend import Backend
from ml_backend.errors import RequestError
from ml_backend.label_studio.protocol import read_json, read_text
from ml_backend.learning.assembly import Learning
from ml_backend.learning.hints import Hints
from ml_backend.learning.learning_facts import (
    Part,
    job_facts,
    job_list,
    live_facts,
    log_tail,
    move_list,
    overview,
    project_list,
    version_facts,
    version_list,
)
from ml_backend.learning.live_moves import make_move, reason_in
from ml_backend.learning.next_job import ask_for_job
from ml_backend.web.lookups import find_job, find_number, find_version
from ml_backend.web.request_body import request_body
from ml_backend.web.same_site import refuse_other_sites
from training.store.database import LARGEST_INTEGER
from training.store.live_pointer import SITE, Mover

_USUAL_PART, _LARGEST_PART = 100, 1000
_LISTS = {f"learning_api.{name}" for name in ("jobs", "versions", "live", "live_of_site")}
Answer = tuple[Response, int]


def learning_api(backend: Backend) -> Blueprint:
    """Return the routes below /api, bound to their collaborators."""
    routes = Blueprint("learning_api", __name__, url_prefix="/api")
    routes.before_request(refuse_other_sites)
    routes.before_request(_refuse_other_parameters)
    _tell(routes, backend.learning)
    _list(routes, backend.learning)
    _act(routes, backend.learning, backend.hints)
    return routes


def _tell(routes: Blueprint, learning: Learning) -> None:
    @routes.get("/projects")
    def projects() -> Response:
        return jsonify(project_list(learning))

    @routes.get("/projects/<name>")
    def project(name: str) -> Response:
        return jsonify(overview(learning, learning.projects.named(name), Part(50), Part(100)))

    @routes.get("/versions/<int:number>")
    def version(number: int) -> Response:
        find_version(learning, number)
        return jsonify(version_facts(learning.stores.versions, number))

    @routes.get("/jobs/<int:number>")
    def job(number: int) -> Response:
        found = find_job(learning, number)
        return jsonify({**job_facts(found), "log": log_tail(learning, found)})


def _list(routes: Blueprint, learning: Learning) -> None:
    @routes.get("/projects/<name>/jobs")
    def jobs(name: str) -> Response:
        return jsonify(job_list(learning, learning.projects.key_of(name), _part()))

    @routes.get("/projects/<name>/versions")
    def versions(name: str) -> Response:
        return jsonify(version_list(learning, learning.projects.key_of(name), _part()))

    @routes.get("/projects/<name>/live")
    def live(name: str) -> Response:
        return _live(learning, learning.projects.key_of(name))

    @routes.get("/site/live")
    def live_of_site() -> Response:
        return _live(learning, SITE)


def _act(routes: Blueprint, learning: Learning, hints: Hints) -> None:
    @routes.post("/projects/<name>/jobs")
    def request_job(name: str) -> Answer:
        project = learning.projects.key_of(name)
        number = ask_for_job(learning, project, reason_in(_body("reason"), "REST"))
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
    mover = Mover(who(), reason_in(body, "REST"), saw=_number(body, "state"))
    make_move(learning.stores.versions, project, read_text(body, "move"), version, mover)
    return _live(learning, project)


def _live(learning: Learning, project: str) -> Response:
    moves = move_list(learning, project, _part())
    return jsonify(live=live_facts(learning, project), **moves)


def _part() -> Part:
    """Return which part of a list the address asks for."""
    before, limit = find_number(request.args, "before"), find_number(request.args, "limit")
    limit = _USUAL_PART if limit is None else limit
    if not 1 <= limit <= _LARGEST_PART:
        raise RequestError(f'"limit" must be a whole number from 1 to {_LARGEST_PART}')
    return Part(limit, None if before is None else min(before, LARGEST_INTEGER))


def _refuse_other_parameters() -> None:
    known = ("before", "limit") if request.endpoint in _LISTS else ()
    _refuse_others(request.args, known, "the address", "parameter")


def _body(*keys: str) -> dict[str, Any]:
    """Return what was sent, which may have these keys."""
    if not request.is_json:
        # A form of another site cannot send this type without being asked first.
        raise RequestError("send a JSON object, with Content-Type: application/json")
    body = read_json(request_body())
    _refuse_others(body, keys, "the body", "key")
    return body


def _refuse_others(names: Iterable[str], known: Collection[str], where: str, noun: str) -> None:
    """Refuse names that would be passed over.

    A misspelt "state" would let a move happen that its sender meant to guard.
    """
    for name in names:
        if name not in known:
            wanted = ", ".join(known) or f"no {noun} at all"
            raise RequestError(f"{name[:60]!r} does not belong here: {where} may have {wanted}")


def _number(body: dict[str, Any], key: str) -> int | None:
    if key not in body:
        return None
    number = body[key]
    # null, too: a script that found no state did not mean to move without one
    if not isinstance(number, int) or isinstance(number, bool):
        raise RequestError(f'"{key}" must be a whole number')
    return number
