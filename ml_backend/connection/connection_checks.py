"""Everything that must be right between Label Studio and this backend, checked one by one.

Asked from the machine the backend runs on, with the token the backend uses, changing nothing.
"""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.structures import CaseInsensitiveDict

from ml_backend.connection.webhook_checks import calls, is_host_for_webhooks, webhook_fault
from ml_backend.errors import BackendError, LabelStudioError, TaskImageError
from ml_backend.images.guarded_connections import is_public
from ml_backend.images.image_limits import ImageLimits
from ml_backend.images.task_images import TaskImages
from ml_backend.label_studio.access_tokens import TokenKind
from ml_backend.label_studio.addresses import origin
from ml_backend.label_studio.authorization import Authorization
from ml_backend.label_studio.client import LabelStudio
from ml_backend.label_studio.labeling_config import ImageTag, parse
from ml_backend.label_studio.no_answer import reason

TESTED_RELEASE = "1.23"
_TIMEOUT_SECONDS = 5.0
_BLOCKED = (
    "Label Studio refuses backends at private addresses (403) unless it was started with "
    "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false"
)
_ELSEWHERE = (
    "{} is not the address of a Label Studio (it answers 404): LABEL_STUDIO_URL is what stands "
    "before /projects in a browser"
)


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warn"
    FAILURE = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        level: whether something must be done.
        subject: what was checked, in a word or two.
        text: what was found, and what to do about it.
    """

    level: Level
    subject: str
    text: str


def check_connection(
    url: str, api_key: str, project: str, backend_url: str, limits: ImageLimits
) -> list[Finding]:
    """Check a whole connection; later checks are left out where earlier ones make them pointless.

    Args:
        url: Label Studio as seen from here.
        api_key: the token this backend uses.
        project: Label Studio's number of the project.
        backend_url: this backend as Label Studio sees it; "" for the one the project names first.
        limits: what an image may cost.
    """
    try:
        label_studio = LabelStudio(url, api_key)
    except LabelStudioError as error:
        return [Finding(Level.FAILURE, "Label Studio", str(error))]
    findings = [_reachable("Label Studio", label_studio.url)]
    if findings[0].level is Level.FAILURE:
        return findings
    findings += _tokens(label_studio)
    if any(finding.level is Level.FAILURE for finding in findings):
        return findings
    try:
        description = label_studio.project(project)
    except BackendError as error:
        text = f"project {project} cannot be read: {error}"
        return [*findings, Finding(Level.FAILURE, "project", text)]
    findings += _project(description)
    findings += _labeling(label_studio, project, description, limits)
    return [*findings, *_backend(label_studio, project, backend_url)]


def _reachable(subject: str, url: str) -> Finding:
    """Ask for /health, which both sides have and nobody needs a token for."""
    try:
        response = requests.get(
            f"{url}/health", timeout=_TIMEOUT_SECONDS, auth=Authorization("", url)
        )
        response.json()
        problem = "" if response.ok else f"it answers {response.status_code}"
    except requests.JSONDecodeError:
        problem = "it does not answer in JSON"
    except (OSError, ValueError) as error:  # the second of addresses that nobody can have
        problem = f"no answer, {reason(error)}"
    if problem:
        text = f"{url}/health does not answer as it should from this machine ({problem})"
        return Finding(Level.FAILURE, subject, text)
    return Finding(Level.OK, subject, f"answers at {url}")


def _tokens(label_studio: LabelStudio) -> Iterator[Finding]:
    kind = label_studio.tokens.kind
    release = ""
    try:
        release = label_studio.version()
        legacy = label_studio.token_settings().get("legacy_api_tokens_enabled")
    except LabelStudioError as error:
        if error.answered == 404 and not release:
            yield Finding(Level.FAILURE, "Label Studio", _ELSEWHERE.format(label_studio.url))
        else:
            yield Finding(Level.FAILURE, "token", str(error))
        return
    tested = release.startswith(f"{TESTED_RELEASE}.")
    note = "" if tested else f"; this backend was tested with {TESTED_RELEASE}"
    yield Finding(Level.OK if tested else Level.WARNING, "release", f"{release}{note}")
    if kind is TokenKind.ACCESS:
        text = "an access token works, but for five minutes only: use the personal access token"
        yield Finding(Level.WARNING, "token", text)
    else:
        yield Finding(Level.OK, "token", f"the {kind.value} is accepted")
    if legacy is False:
        text = (
            "legacy tokens are off, so the one that Label Studio itself sends to backends is "
            "useless: start this backend with LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
        )
        yield Finding(Level.WARNING, "legacy tokens", text)


def _project(description: dict[str, Any]) -> Iterator[Finding]:
    yield Finding(Level.OK, "project", f"{description.get('title')!r} can be read")
    if description.get("show_collab_predictions"):
        text = (
            "Label Studio asks for predictions whenever a task without them is opened; if masks "
            "come from clicks alone, switch off Settings > Annotation > Use predictions to "
            "prelabel tasks"
        )
        yield Finding(Level.WARNING, "prelabeling", text)
    if description.get("start_training_on_annotation_update"):
        text = (
            "every Submit waits for a training request: switch off Settings > Model > Start model "
            "training on annotation submission; this backend decides by itself when to train"
        )
        yield Finding(Level.WARNING, "training", text)


def _labeling(
    label_studio: LabelStudio, project: str, description: dict[str, Any], limits: ImageLimits
) -> Iterator[Finding]:
    try:
        config = parse(description.get("label_config", ""))
    except BackendError as error:
        yield Finding(Level.FAILURE, "labels", str(error))
        return
    names = ", ".join(config.brush_labels)
    yield Finding(Level.OK, "labels", f"clicks become masks of {names}")
    yield _image(label_studio, project, config.image, limits)


def _image(label_studio: LabelStudio, project: str, tag: ImageTag, limits: ImageLimits) -> Finding:
    try:
        task = next(label_studio.tasks(project), None)
        if task is None:
            return Finding(Level.WARNING, "images", "the project has no tasks yet")
        image = TaskImages(limits, cache_bytes=0).load(task, tag, label_studio)
    except (LabelStudioError, TaskImageError) as error:
        return Finding(Level.FAILURE, "images", str(error))
    height, width = image.pixels.shape[:2]
    return Finding(Level.OK, "images", f"task {task['id']} has {width}x{height} pixels")


def _backend(label_studio: LabelStudio, project: str, backend_url: str) -> Iterator[Finding]:
    try:
        connected = label_studio.ml_backends(project)
        webhooks = label_studio.webhooks(project)
    except LabelStudioError as error:
        yield Finding(Level.FAILURE, "backend", str(error))
        return
    backend_url = (backend_url or _first_url(connected)).rstrip("/")
    if not backend_url:
        text = "no backend is connected: add this one under Settings > Model > Connect Model"
        yield Finding(Level.FAILURE, "backend", f"{text}; {_BLOCKED}")
        return
    if origin(backend_url) is None:
        text = f"{backend_url[:200]!r} is no address such as http://backend.internal:9090"
        yield Finding(Level.FAILURE, "backend", text)
        return
    yield _reachable("backend", backend_url)
    yield _connected(connected, backend_url)
    yield _webhook(webhooks, backend_url)


def _first_url(connected: Sequence[dict[str, Any]]) -> str:
    return str(connected[0].get("url", "")) if connected else ""


def _connected(connected: Sequence[dict[str, Any]], backend_url: str) -> Finding:
    """Check what Label Studio knows of the backend."""
    ours = next((one for one in connected if str(one.get("url")).rstrip("/") == backend_url), None)
    if ours is None:
        others = ", ".join(str(one.get("url")) for one in connected) or "none"
        text = (
            f"{backend_url} is not connected to the project (connected: {others}): add it under "
            "Settings > Model > Connect Model"
        )
        private = f"; {_BLOCKED}" if _is_private(backend_url) else ""
        return Finding(Level.FAILURE, "connection", f"{text}{private}")
    if ours.get("state") != "CO":
        why = ours.get("error_message") or "no reason given"
        text = f"Label Studio says {ours.get('readable_state')}: {why}"
        return Finding(Level.FAILURE, "connection", text)
    interactive = [one for one in connected if one.get("is_interactive")]
    if ours not in interactive:
        text = "clicks are not sent: edit the model and switch on Interactive preannotations"
        return Finding(Level.FAILURE, "connection", text)
    if interactive[0] is not ours:
        text = (
            f"clicks go to the first interactive backend, {interactive[0].get('url')}: switch off "
            "Interactive preannotations there"
        )
        return Finding(Level.FAILURE, "connection", text)
    return Finding(Level.OK, "connection", f"connected, version {ours.get('model_version')}")


def _webhook(webhooks: Sequence[dict[str, Any]], backend_url: str) -> Finding:
    """Check that accepted masks are announced; without that they are noticed an hour later."""
    place = backend_url.partition("://")[2]
    ours = next((one for one in webhooks if calls(one, place)), None)
    if ours is None:
        return Finding(Level.FAILURE, "webhook", _no_webhook(f"{backend_url}/webhook"))
    fault = webhook_fault(ours)
    if fault:
        text = f"{fault}: change it under Settings > Webhooks"
        return Finding(Level.FAILURE, "webhook", text)
    header = str(CaseInsensitiveDict(ours.get("headers") or {}).get("Authorization", ""))
    if _refuses(backend_url, header):
        given = "another one" if header else "none"
        text = (
            f"the backend wants a login, and the webhook's Authorization header gives {given}: "
            "give the model that login under Settings > Model, and open that page once more"
        )
        return Finding(Level.FAILURE, "webhook", text)
    return Finding(Level.OK, "webhook", "accepted masks are announced")


def _no_webhook(address: str) -> str:
    text = f"no webhook calls {address}, so nobody says what is accepted"
    host = urlsplit(address).hostname or ""
    if not is_host_for_webhooks(host):
        return (
            f"{text}: Label Studio sends clicks to any name, but webhooks only to an IP address, "
            f"localhost or a name with a dot, which {host!r} is not; give this backend such a name "
            f"({host.replace('_', '-')}.internal, say), and connect it under that"
        )
    return (
        f"{text}: add it under Settings > Webhooks, with payload; Label Studio does so itself "
        "while connecting only if it was started with SSRF_PROTECTION_ENABLED=false"
    )


def _refuses(backend_url: str, header: str) -> bool:
    """Say whether the backend answers 401 to who sends this header; "" is none."""
    try:
        response = requests.get(
            f"{backend_url}/versions",
            timeout=_TIMEOUT_SECONDS,
            auth=Authorization(header, backend_url),
        )
    except requests.RequestException:
        return False
    except ValueError:  # of what no header can hold, so that Label Studio cannot send it either
        return True
    return response.status_code == 401


def _is_private(url: str) -> bool:
    """Return whether an address leads into a private network; a name unknown here may well."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname, None)
        return not all(is_public(str(entry[4][0])) for entry in found)
    except (OSError, ValueError):
        return True
