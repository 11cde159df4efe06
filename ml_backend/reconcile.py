"""Compares the sample store with Label Studio, which is the truth, and mends the difference.

Webhooks are only hints: Label Studio sends them once and forgets them, and a backend that was away
never hears of them. This goes through the project's annotated tasks, takes what is new, and
withdraws what is gone. The tasks come in pages while people go on, and may slip from one page to
another; so what was not listed is asked for by itself before it counts as gone.
"""

import logging
from typing import Any

from ml_backend.errors import (
    BackendError,
    LabelingConfigError,
    LabelStudioError,
    TaskImageError,
)
from ml_backend.ingest import Ingest
from ml_backend.label_studio import LabelStudio
from ml_backend.projects import ProjectNews, ProjectRow, project_key, project_number
from ml_backend.webhook_checks import unannounced
from training.database import now

logger = logging.getLogger(__name__)


def reconcile(project: ProjectRow, label_studio: LabelStudio, ingest: Ingest) -> str:
    """Bring a project's samples in line with Label Studio.

    Returns:
        A sentence about what was found.

    Raises:
        LabelStudioError: if Label Studio cannot be reached or refuses the token; what was read up
            to then is kept, and nothing was withdrawn.
        BackendError: if Label Studio has another project under this number now.
    """
    listed_at = now()
    number = project_number(project.key)
    project = _as_described(project, label_studio.project(number), ingest)
    listed: dict[int, int] = {}
    problems: list[str] = []
    for task in label_studio.tasks(number, annotated=True):
        annotations = _annotations(task)
        on_task = {annotation: int(task["id"]) for annotation in annotations}
        listed |= on_task
        ingest.samples.forget_deletions(project.key, on_task, listed_at)
        for annotation in annotations.values():
            problems += _take(project, annotation, task, ingest)
    withdrawn = 0
    for of_task, missing in ingest.samples.unlisted(project.key, listed, listed_at).items():
        task = _task(label_studio, of_task, number)
        there = _annotations(task)
        for known in missing & there.keys():
            problems += _take(project, there[known], task, ingest)
        gone = missing - there.keys()
        ingest.samples.withdraw(project.key, gone)
        withdrawn += len(gone)
    ingest.inbox.settle(project.key, listed_at)
    return _summary(len(listed), withdrawn, problems) + _unannounced(label_studio, number)


def _unannounced(label_studio: LabelStudio, project: str) -> str:
    """Return what to add to the sentence where Label Studio does not say what is accepted."""
    try:
        lacking = unannounced(label_studio.webhooks(project), project)
    except LabelStudioError:  # who may read annotations need not be allowed to read webhooks
        return ""
    return f"; {lacking}" if lacking else ""


def _annotations(task: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the annotations of a task by their numbers."""
    found = [item for item in task.get("annotations") or [] if isinstance(item, dict)]
    return {int(annotation["id"]): annotation for annotation in found}


def _task(label_studio: LabelStudio, task: int, project: str) -> dict[str, Any]:
    """Return a task with its annotations; an empty one if the project has it no more."""
    try:
        found = label_studio.task(task)
    except LabelStudioError as error:
        if error.answered == 404:
            return {}
        raise
    return found if str(found.get("project", project)) == project else {}


def _as_described(project: ProjectRow, described: dict[str, Any], ingest: Ingest) -> ProjectRow:
    found = project_key(described)
    if found != project.key:
        raise BackendError(
            f"Label Studio's project {project.number} is another one now (created at another "
            "time), so nothing is compared"
        )
    news = ProjectNews(
        title=str(described.get("title") or ""),
        label_config=str(described.get("label_config") or ""),
    )
    ingest.projects.remember(project.key, news)
    return ingest.projects.find(project.key) or project


def _take(
    project: ProjectRow, annotation: dict[str, Any], task: dict[str, Any], ingest: Ingest
) -> list[str]:
    """Take one annotation; return what was wrong with it."""
    try:
        ingest.take(project, annotation, task)
    except (TaskImageError, LabelingConfigError) as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError) as error:
        logger.exception("annotation %s of project %s", annotation.get("id"), project.key)
        return [f"annotation {annotation.get('id')} is not understood: {error!r}"]
    return []


def _summary(listed: int, withdrawn: int, problems: list[str]) -> str:
    sentence = f"{listed} annotations compared, {withdrawn} withdrawn"
    if problems:
        sentence += f", {len(problems)} unusable, such as: {problems[0]}"
    return sentence
