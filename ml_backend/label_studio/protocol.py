"""Label Studio's request bodies, checked and turned into values.

Only the outer shape is checked here, because it decides between a 400 and an answer; what is inside
a task or a region is judged where it is read, so that one bad task does not spoil the others.
Captured from Label Studio 1.23.2; keys that it adds later are ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ml_backend.errors import RequestError
from ml_backend.label_studio.project_keys import project_key
from training.moments import moment_of

Json = Mapping[str, Any]  # as Label Studio serialises it; only read

# Besides these, a backend connected with "send for all actions" sees whatever comes in the future.
KNOWN_ACTIONS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "ANNOTATION_DELETED",
        "START_TRAINING",
        "PROJECT_CREATED",
        "PROJECT_UPDATED",
        "PROJECT_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
    }
)

_LARGEST_NUMBER = 2**31 - 1  # that every database takes
# Of what a connection says, which is kept for each project. A token has some hundred.
_LONGEST_KEPT = 2_000


@dataclass(frozen=True)
class SetupRequest:
    """What Label Studio says when a backend is connected, and often again later.

    Attributes:
        project: key of the project, see `project_keys.project_key`.
        schema: the labelling configuration, XML.
        hostname: address under which Label Studio believes to be reached; may be empty.
        access_token: legacy token of the project's creator; may be empty.
    """

    project: str
    schema: str
    hostname: str
    access_token: str = field(repr=False)


@dataclass(frozen=True)
class PredictRequest:
    """Tasks to predict.

    Attributes:
        tasks: as Label Studio serialises them.
        project: key of the project, see `project_keys.project_key`.
        label_config: the labelling configuration, XML.
        context: what was drawn just now, for one task; None for a batch.
    """

    tasks: list[dict[str, Any]]
    project: str
    label_config: str
    context: dict[str, Any] | None


@dataclass(frozen=True)
class WebhookEvent:
    """Something happened in Label Studio.

    Attributes:
        action: its name, such as ANNOTATION_CREATED.
        payload: the whole body. It holds the project's token: never log it.
    """

    action: str
    payload: dict[str, Any] = field(repr=False)


def read_json(body: bytes) -> dict[str, Any]:
    """Parse a request body.

    Raises:
        RequestError: if it is not a JSON object.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        # A parser's message may quote the body, which may hold a token.
        raise RequestError("the request body is not JSON") from error
    if not isinstance(value, dict):
        raise RequestError(f"the request body is a JSON {_kind(value)}, not an object")
    return value


def read_setup(body: bytes) -> SetupRequest:
    """Read the body of /setup.

    Raises:
        RequestError: if it does not follow the protocol.
    """
    values = read_json(body)
    return SetupRequest(
        project=project_key(values.get("project")),
        schema=read_text(values, "schema"),
        hostname=read_short_text(values, "hostname", _LONGEST_KEPT),
        access_token=read_short_text(values, "access_token", _LONGEST_KEPT),
    )


def read_predict(body: bytes) -> PredictRequest:
    """Read the body of /predict.

    Raises:
        RequestError: if it does not follow the protocol.
    """
    values = read_json(body)
    tasks = values.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise RequestError('"tasks" must be a list of objects')
    params = values.get("params") or {}
    if not isinstance(params, dict):
        raise RequestError('"params" must be an object')
    context = params.get("context")
    if context is not None and not isinstance(context, dict):
        raise RequestError('"params.context" must be an object or null')
    if context is not None and len(tasks) != 1:
        raise RequestError(f"clicks belong to one task, this request has {len(tasks)}")
    project, label_config = project_key(values.get("project")), read_text(values, "label_config")
    return PredictRequest(tasks, project, label_config, context)


def read_webhook(body: bytes) -> WebhookEvent:
    """Read the body of /webhook.

    Raises:
        RequestError: if it does not follow the protocol.
    """
    values = read_json(body)
    action = read_text(values, "action")
    if not action:
        raise RequestError('"action" must be the name of an event')
    return WebhookEvent(action, values)


def read_text(values: Mapping[str, Any], key: str) -> str:
    """Return a text of a body or a form, "" where it is null or missing.

    Raises:
        RequestError: if it is anything else, no valid Unicode, or holds a NUL.
    """
    value = values.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RequestError(f'"{key}" must be text')
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can hold halves of characters
        raise RequestError(f'"{key}" is not valid Unicode') from error
    if "\0" in value:  # PostgreSQL keeps none
        raise RequestError(f'"{key}" holds a NUL character')
    return value


def read_short_text(values: Mapping[str, Any], key: str, most: int) -> str:
    """Return a text as `read_text` does, without blanks around it.

    Raises:
        RequestError: also if it has more than `most` letters.
    """
    text = read_text(values, key).strip()
    if len(text) > most:
        raise RequestError(f'"{key}" has more than {most} letters')
    return text


def task_number(task: Mapping[str, Any]) -> str:
    """Return the task's id as it may appear in a log line, "?" if it has none."""
    value = task.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return "?"
    # A line break in an id would forge a log line.
    return "".join(c for c in str(value)[:40] if c.isalnum() or c in "-_") or "?"


def _kind(value: Any) -> str:
    names: dict[type, str] = {list: "list", str: "text", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def objects(value: Any) -> list[Json]:
    """Return what may come alone or in a list, as a list.

    Raises:
        RequestError: if anything in it is no object.
    """
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, dict):
            raise RequestError(f"an object must stand where a {_kind(item)} is")
    return items


def number_of(item: Json, key: str = "id") -> int:
    """Return the number of a task or an annotation.

    Raises:
        RequestError: if it has none that a database takes (`int` takes true for 1).
    """
    value = item.get(key)
    if type(value) is not int or not 0 <= value <= _LARGEST_NUMBER:
        raise RequestError(f'"{key}" of a task or an annotation must be a whole number')
    return value


def time_of(annotation: Json) -> datetime:
    """Return when Label Studio last changed an annotation, in UTC.

    Raises:
        RequestError: if it does not say.
    """
    try:
        return moment_of(annotation["updated_at"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise RequestError('"updated_at" of an annotation must be a time') from error
