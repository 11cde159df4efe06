"""The learning side as pages: server-rendered, usable without JavaScript."""

import base64
import json
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as Answer

from ml_backend.auth import who
from ml_backend.backend import Backend
from ml_backend.learning.assembly import Learning
from ml_backend.learning.fine_tune_jobs import UNFINISHED
from ml_backend.learning.hints import Hints
from ml_backend.learning.learning_facts import (
    Part,
    job_facts,
    last_decision,
    live_facts,
    log_tail,
    overview,
    project_list,
    version_facts,
)
from ml_backend.learning.live_moves import make_move, reason_in
from ml_backend.learning.next_job import ask_for_job
from ml_backend.serving.pointer_follower import PointerFollower
from ml_backend.web.charts import clicks_bar, growth_chart, lineage_mark
from ml_backend.web.lookups import find_job, find_number, find_version, find_version_to_show
from ml_backend.web.rendered_pages import PAGES, rendered
from ml_backend.web.same_site import refuse_other_sites
from training.errors import FileStoreError, StoredFileError
from training.moments import moment_of, now
from training.store.database import LARGEST_INTEGER
from training.store.live_pointer import Mover
from training.store.model_versions import ModelVersions
from training.store.stored_files import StoredFiles
from training.written_numbers import counted, signed

_MOST_CLICKS = 20.0
_MOST_ROWS = 12  # of jobs and of versions; earlier ones are a link away
_MOST_NOTICES = 3
# While a job runs. A project counts all its samples for that, a job reads one row.
_PROJECT_REFRESH_SECONDS, _JOB_REFRESH_SECONDS = 15, 5
# After a move, while answers come from the version before: it mostly takes a second.
_MOVE_REFRESH_SECONDS, _RECENT = 5, timedelta(minutes=1)


def learning_pages(backend: Backend) -> Blueprint:
    """Return the routes below /projects, bound to their collaborators."""
    routes = Blueprint("learning", __name__, url_prefix=PAGES)
    routes.before_request(refuse_other_sites)
    routes.url_defaults(_keep_still)
    _show(routes, backend.learning, backend.pointer)
    _act(routes, backend.learning, backend.hints)
    words = (counted, duration, moment, signed, svg_address)
    for helper in (clicks_bar, growth_chart, lineage_mark, *words):
        routes.add_app_template_global(helper)
    return routes


def _show(routes: Blueprint, learning: Learning, pointer: PointerFollower) -> None:
    stored = learning.stores.versions

    @routes.get("/", strict_slashes=False)
    def projects() -> Response:
        return rendered("projects.html", **project_list(learning))

    @routes.get("/<name>", strict_slashes=False)
    def project(name: str) -> Response:
        found = learning.projects.named(name)
        jobs, versions = _asked_for("before"), _asked_for("versions_before")
        facts = overview(learning, found, jobs, versions)
        undecided = facts["undecided"]
        is_newest = (jobs.before, versions.before) == (None, None)
        served = pointer.live(found.key).name
        return rendered(
            "project.html",
            project=facts,
            jobs_before=jobs.before,
            versions_before=versions.before,
            notices=[version_facts(stored, number) for number in undecided[:_MOST_NOTICES]],
            also_undecided=undecided[_MOST_NOTICES:],
            served=served,
            decided=last_decision(learning, found.key, facts["moves"]),
            back=_way_back(stored, facts),
            versions=_rows(facts["versions"], versions.before is not None, facts["more_versions"]),
            now=now(),
            most_clicks=_MOST_CLICKS,
            refresh=_refresh_seconds(facts, served) if is_newest else None,
        )

    @routes.get("/<name>/jobs/<int:number>", strict_slashes=False)
    def job(name: str, number: int) -> Response:
        found = learning.projects.named(name)
        row = find_job(learning, number, found.key)
        facts = job_facts(row)
        return rendered(
            "job.html",
            project=found,
            job=facts,
            log=log_tail(learning, row, lines=200),
            refresh=_JOB_REFRESH_SECONDS if _is_busy([facts]) else None,
        )

    @routes.get("/<name>/versions/<int:number>", strict_slashes=False)
    def version(name: str, number: int) -> Response:
        found = learning.projects.named(name)
        row = find_version_to_show(learning, number, found.key)
        return rendered(
            "version.html",
            project=found,
            version=version_facts(stored, number),
            live=live_facts(learning, found.key),
            is_usable=stored.may_use(found.key, number),
            children=stored.children(found.key, number),
            report=_report(learning.stores.files, row.report),
            most_clicks=_MOST_CLICKS,
        )


def _act(routes: Blueprint, learning: Learning, hints: Hints) -> None:
    @routes.post("/<name>/live")
    def move(name: str) -> Answer:
        project = learning.projects.key_of(name)
        version = find_number(request.form, "version")
        if version is not None:
            find_version(learning, version, project)
        mover = Mover(
            who(), reason_in(request.form, "page"), saw=find_number(request.form, "state")
        )
        kind = request.form.get("move", "")
        make_move(learning.stores.versions, project, kind, version, mover)
        return _back_to(name, "#versions")

    @routes.post("/<name>/jobs")
    def request_job(name: str) -> Answer:
        ask_for_job(learning, learning.projects.key_of(name), f"{who()}, on the page")
        hints.train()
        return _back_to(name, "#jobs")

    @routes.post("/<name>/jobs/<int:number>/cancel")
    def cancel(name: str, number: int) -> Answer:
        find_job(learning, number, learning.projects.key_of(name))
        learning.jobs.cancel(number)
        return _back_to(name, "#jobs")

    @routes.post("/<name>/reconcile")
    def reconcile(name: str) -> Answer:
        learning.projects.ask_to_reconcile(learning.projects.key_of(name))
        return _back_to(name, "#samples")

    @routes.get("/<name>/live")
    @routes.get("/<name>/jobs")
    @routes.get("/<name>/jobs/<int:number>/cancel")
    @routes.get("/<name>/reconcile")
    def look_again(name: str, number: int = 0) -> Answer:
        # a refused button leaves its address in the address bar, and in bookmarks
        return _back_to(name, "")


def _way_back(stored: ModelVersions, project: dict[str, Any]) -> str:
    """Say where a rollback leads; nothing where the project follows the site, or would unpinned."""
    live, moves = project["live"], project["moves"]
    if live is None or not live["own"]:
        return ""
    if live["pinned"] and all(move["version"] is None for move in moves[1:2]):
        return ""
    version, is_sites = stored.rollback_target(project["key"])
    if version is None:
        return ""
    words = "Follow the site again (version {})" if is_sites else "Roll back to version {}"
    return words.format(version)


def _report(files: StoredFiles, key: str | None) -> dict[str, Any]:
    if key is None:
        return {}
    try:
        report: dict[str, Any] = json.loads(files.read_verified(key))
    except (StoredFileError, FileStoreError) as error:
        return {"problem": str(error)}
    return report


def duration(seconds: float | None) -> str:
    """Return a stretch of time as people say it."""
    if seconds is None:
        return "unknown yet"
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(text: str | None) -> str:
    """Return a moment as it is shown: minutes are enough."""
    return "" if text is None else text.replace("T", " ")[:16]


def svg_address(drawing: str) -> str:
    """Return a drawing as the address of an image: its ids are no other drawing's then."""
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode("ascii")


def _asked_for(part: str) -> Part:
    """Return which part of a list the address asks for."""
    before = request.args.get(part, type=int)
    return Part(_MOST_ROWS, None if before is None else max(0, min(before, LARGEST_INTEGER)))


def _rows(versions: list[dict[str, Any]], has_newer: bool, has_older: bool) -> list[dict[str, Any]]:
    """Add to each version how its row of the line of descent is drawn."""
    return [
        {
            **version,
            "mark": lineage_mark(
                on_line=version["ancestor"],
                above=has_newer or index > 0,
                below=has_older or index < len(versions) - 1,
                live=version["live"],
            ),
        }
        for index, version in enumerate(versions)
    ]


def _refresh_seconds(project: dict[str, Any], served: str) -> int | None:
    """Return after how long the page of a project is loaded anew; None if it stays as it is."""
    is_behind = project["live"] is not None and project["live"]["name"] != served
    if is_behind and any(_is_recent(move) for move in project["moves"][:1]):
        return _MOVE_REFRESH_SECONDS
    return _PROJECT_REFRESH_SECONDS if is_behind or _is_busy(project["jobs"]) else None


def _is_recent(move: dict[str, Any]) -> bool:
    return now() - moment_of(move["at"]) < _RECENT


def _is_busy(jobs: list[dict[str, Any]]) -> bool:
    return any(job["state"] in UNFINISHED for job in jobs)


def _keep_still(_: str, values: dict[str, Any]) -> None:
    """Lead from a page that is kept still to others that are, also past its buttons."""
    if "still" in request.args:
        values["still"] = ""


def _back_to(name: str, anchor: str) -> Answer:
    # 303: a reload shows the page again and does not repeat what was done.
    return redirect(url_for("learning.project", name=name) + anchor, 303)
