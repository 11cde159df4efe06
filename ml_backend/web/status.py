"""What the page for people shows: what is live, what is wrong, what happened just now."""

from dataclasses import dataclass
from typing import Any

from ml_backend.backend import Backend
from ml_backend.label_studio.project_keys import project_number
from ml_backend.learning.attention import Attention, Need
from ml_backend.serving.versions import UNTRAINED_SENTENCE, Version
from ml_backend.settings import MEGABYTE
from ml_backend.short_text import shortened
from training import __version__
from training.errors import DatabaseError
from training.moments import now

_SHOWN_CHARACTERS = 150


@dataclass(frozen=True)
class ProjectLine:
    """One project on the page."""

    number: str
    address: str
    version: str
    problem: str


@dataclass(frozen=True)
class NeedLine:
    """One project that needs a person."""

    key: str
    title: str
    need: Need


def status(backend: Backend) -> dict[str, Any]:
    """Return the variables of `templates/status.html`."""
    live = backend.pointer.live("")
    worker, worker_problems, needs = _learning(backend)
    return {
        "now": now().strftime("%Y-%m-%d %H:%M:%S"),
        "ready": backend.readiness.ready,
        "live": live,
        "device": backend.device,
        "loaded": backend.models.loaded(),
        "problems": [*problems(backend, live), *worker_problems],
        "needs": needs,
        "projects": _projects(backend),
        "configuration": [*_configuration(backend), ("Worker", worker)],
        "recent": backend.recent.newest_first(),
        "failures": backend.recent.failures(),
    }


def problems(backend: Backend, live: Version) -> list[str]:
    """Say everything an administrator should know, the worst first."""
    settings = backend.settings
    found = backend.models.problems() + backend.pointer.problems()
    not_installed = backend.default_weights.problem
    if not_installed:
        found.append(not_installed[0].upper() + not_installed[1:] + ".")
    if not live.trained:
        found.append(UNTRAINED_SENTENCE[0].upper() + UNTRAINED_SENTENCE[1:] + ".")
    if backend.no_gpu:
        found.append(
            f"This machine has an NVIDIA GPU, but torch cannot use it ({backend.no_gpu}), so masks "
            "come from the CPU: its driver or the GPU itself may be too old (docs/deployment.md), "
            "or the container was started without it. ICMFORMER_DEVICE=cpu says that this is meant."
        )
    if settings.api_key is None:
        found.append(
            "LABEL_STUDIO_API_KEY is not set: the worker has no token, so nothing is learned from "
            "images that Label Studio keeps. For clicks they are fetched with the legacy token "
            "that Label Studio sends when a project connects, which works only while legacy "
            "tokens are enabled in its organization settings."
        )
    if settings.credentials is None and settings.host not in ("127.0.0.1", "localhost", "::1"):
        found.append(
            "BASIC_AUTH_USER and BASIC_AUTH_PASS are not set: everyone who reaches this address "
            "may use the backend."
        )
    if settings.workers > 1:
        found.append(
            f"WORKERS is {settings.workers}: this page and /metrics show the process that answers."
        )
    return found


def _learning(backend: Backend) -> tuple[str, list[str], list[NeedLine]]:
    """Return what there is to say of the worker, what is wrong, and which projects need a person.

    The page is also for those whose database is away.
    """
    try:
        seen = backend.lookout.look()
        needs = _needs(backend, seen)
    except DatabaseError as error:
        return "unknown", [f"What waits is unknown: {error}."], []
    seen_at = seen.worker_seen_at
    worker = f"seen {seen_at:%Y-%m-%d %H:%M} UTC" if seen_at else "never seen yet"
    return worker, [seen.worker_problem] if seen.worker_problem else [], needs


def _needs(backend: Backend, seen: Attention) -> list[NeedLine]:
    if not seen.needs:
        return []
    return [
        NeedLine(one.key, one.shown_title, seen.needs[one.key])
        for one in backend.learning.projects.all()
        if one.key in seen.needs
    ]


def _projects(backend: Backend) -> list[ProjectLine]:
    """List the projects that connected to this process."""
    pointer = backend.pointer
    return [
        ProjectLine(
            project_number(one.project),
            shortened(one.address, _SHOWN_CHARACTERS),
            pointer.live(one.project).name,
            one.problem,
        )
        for one in backend.connections.all()
    ]


def _configuration(backend: Backend) -> list[tuple[str, str]]:
    """Say what is set, without any secret."""
    settings = backend.settings
    return [
        ("Release", __version__),
        ("Label Studio", settings.label_studio_url or "as each project says when it connects"),
        ("Token", "from the environment" if settings.api_key else "as each project brings it"),
        ("Login for this backend", "asked for" if settings.credentials else "none"),
        ("Device", backend.device),
        ("State", str(settings.model_dir)),
        ("Click memory", _share(backend.sessions.nbytes, settings.click_memory_mb)),
        ("Image cache", _share(backend.images.nbytes, settings.image_cache_mb)),
        ("Weights in memory", _share(backend.models.nbytes, settings.model_memory_mb)),
        ("Waiting for the network", str(backend.queue.depth)),
    ]


def _share(nbytes: int, megabytes: int) -> str:
    return f"{nbytes / MEGABYTE:.0f} of {megabytes} MB"
