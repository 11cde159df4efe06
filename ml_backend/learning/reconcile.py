"""Compares the sample store with Label Studio, which is the truth, and mends the difference.

Webhooks are only hints: Label Studio sends them once and forgets them, and a backend that was away
never hears of them. This goes through the project's annotated tasks, takes what is new, and
withdraws what is gone. The tasks come in pages while people go on, and may slip from one page to
another; so what was not listed is asked for by itself before it counts as gone.

Where images do not come, no more are asked for, so that other projects have their turn. What could
not be read before is tried last, so the next comparison gets further than this one.

Nothing is taken from a project to which no model is connected: its owner does not ask for it.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from ml_backend.connection.webhook_checks import unannounced
from ml_backend.errors import BackendError, ImageHostError, LabelStudioError, ProjectGoneError
from ml_backend.label_studio.client import LabelStudio
from ml_backend.label_studio.labeling_config import ImageTag
from ml_backend.label_studio.project_keys import project_key, project_number
from ml_backend.label_studio.protocol import Json, number_of
from ml_backend.learning.ingest import (
    SILENT_IMAGES,
    WAITING,
    Image,
    Ingest,
    NotAskedForError,
    problem_of,
)
from ml_backend.learning.projects import ProjectNews, ProjectRow, ProjectState
from training.moments import now
from training.written_numbers import counted

logger = logging.getLogger(__name__)


class Comparison(NamedTuple):
    """What a comparison found: a sentence, and whether a model is connected to the project."""

    sentence: str
    state: ProjectState


def reconcile(project: ProjectRow, label_studio: LabelStudio, ingest: Ingest) -> Comparison:
    """Bring a project's samples in line with Label Studio.

    Raises:
        LabelStudioError: if Label Studio cannot be reached or refuses the token; what was read up
            to then is kept, and nothing was withdrawn.
        ImageHostError: if images do not come that are needed; all others were taken.
        ProjectGoneError: if Label Studio has no such project, or another one under its number.
    """
    listed_at = now()
    number = project_number(project.key)
    project = _as_described(project, label_studio, ingest)
    backends = _backends(label_studio, number)
    if backends == []:
        return Comparison(_not_connected(project), "not connected")
    unreadable = ingest.samples.unreadable(project.key)
    taking = _Taking(project, ingest, listed_at)
    listed: dict[int, int] = {}
    for task in label_studio.tasks(number, annotated=True):
        annotations = _annotations(task)
        on_task = {annotation: number_of(task) for annotation in annotations}
        listed |= on_task
        if len(annotations) < len(task.get("annotations") or []):
            taking.problems.append(f"task {task['id']}: an annotation that has no number")
        ingest.samples.forget_deletions(project.key, on_task, listed_at)
        taking.take(task, annotations.keys() - unreadable)
    withdrawn = 0
    for of_task, missing in ingest.samples.unlisted(project.key, listed, listed_at).items():
        task = _task(label_studio, of_task, number)
        taking.take(task, missing)
        gone = missing - _annotations(task).keys()
        ingest.samples.withdraw(project.key, gone)
        withdrawn += len(gone)
    if taking.left:
        # Not at once: a server that is away would have the project listed every minute.
        raise ImageHostError(
            f"of {len(listed)} annotations {taking.left} wait for the next try, because images do "
            f"not come: {taking.problems[-1]}"
        )
    ingest.settle(project.key, listed_at)
    for annotation in unreadable:
        if annotation in listed and not taking.has_given_up:
            taking.take(_task(label_studio, listed[annotation], number), {annotation})
    found = _summary(len(listed), withdrawn, taking)
    return Comparison(found + _unannounced(label_studio, number, backends), "connected")


@dataclass
class _Taking:
    """Takes annotations, those that need an image as long as images come.

    Attributes:
        project: whose they are.
        ingest: brings them into the store.
        listed_at: when the listing began.
        problems: what was wrong with them.
        left: how many were left to the next comparison.
    """

    project: ProjectRow
    ingest: Ingest
    listed_at: datetime
    problems: list[str] = field(default_factory=list)
    left: int = 0
    _silent: int = 0  # images that did not come since the last that did

    @property
    def has_given_up(self) -> bool:
        """Whether no more images are asked for."""
        return self._silent >= SILENT_IMAGES

    def take(self, task: dict[str, Any], wanted: Collection[int]) -> None:
        """Take these annotations of a task, as far as it has them."""
        for number, annotation in _annotations(task).items():
            if number in wanted:
                self._take(annotation, task)

    def _take(self, annotation: dict[str, Any], task: dict[str, Any]) -> None:
        try:
            ingest = replace(self.ingest, fetch_image=self._fetch)
            ingest.take(self.project, annotation, task, self.listed_at)
        except NotAskedForError:
            self.left += 1
        except WAITING:
            raise
        except Exception as error:
            # One annotation that nobody foresaw must not hold up those behind it.
            number = annotation.get("id")
            if not isinstance(error, BackendError):
                logger.exception("annotation %s of project %s", number, self.project.key)
            self.problems.append(problem_of(error, number))

    def _fetch(
        self, project: ProjectRow, task: Json, tag: ImageTag, painted_hw: tuple[int, int]
    ) -> Image:
        if self.has_given_up:
            raise NotAskedForError
        try:
            image = self.ingest.fetch_image(project, task, tag, painted_hw)
        except ImageHostError:
            self._silent += 1
            raise
        self._silent = 0
        return image


def _backends(label_studio: LabelStudio, project: str) -> list[Json] | None:
    """Return the backends that are connected to a project; None where that cannot be said."""
    try:
        return list(label_studio.ml_backends(project))
    except LabelStudioError:  # who may read annotations need not be allowed to read this
        return None


def _not_connected(project: ProjectRow) -> str:
    return (
        "no model is connected to the project in Label Studio, so nothing is taken from it: "
        "connect this backend there under Settings > Model, or delete what is kept with python -m "
        f"ml_backend forget --project {project.key} --yes"
    )


def _unannounced(label_studio: LabelStudio, project: str, backends: list[Json] | None) -> str:
    """Return what to add to the sentence where Label Studio does not say what is accepted."""
    try:
        webhooks = label_studio.webhooks(project)
    except LabelStudioError:  # nor to read webhooks
        return ""
    lacking = "" if backends is None else unannounced(webhooks, backends, project)
    return f"; {lacking}" if lacking else ""


def _annotations(task: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the annotations of a task by their numbers; one without is nobody's."""
    found = [item for item in task.get("annotations") or [] if isinstance(item, dict)]
    return {item["id"]: item for item in found if type(item.get("id")) is int}


def _task(label_studio: LabelStudio, task: int, project: str) -> dict[str, Any]:
    """Return a task with its annotations; an empty one if the project has it no more."""
    try:
        found = label_studio.task(task)
    except LabelStudioError as error:
        if error.answered == 404:
            return {}
        raise
    return found if str(found.get("project", project)) == project else {}


def _as_described(project: ProjectRow, label_studio: LabelStudio, ingest: Ingest) -> ProjectRow:
    """Take over what Label Studio says of a project."""
    remedy = (
        f"If {label_studio.url} is the right Label Studio and the project was deleted there, "
        f"python -m ml_backend forget --project {project.key} --yes deletes what is kept"
    )
    try:
        described = label_studio.project(project.number)
    except LabelStudioError as error:
        if error.answered != 404:
            raise
        raise ProjectGoneError(
            f"Label Studio has no project {project.number}, or does not show it to this account. "
            f"{remedy}"
        ) from error
    if project_key(described) != project.key:
        raise ProjectGoneError(
            f"Label Studio's project {project.number} is another one now (created at another "
            f"time), so nothing is compared. {remedy}"
        )
    news = ProjectNews(
        title=str(described.get("title") or ""),
        label_config=str(described.get("label_config") or ""),
    )
    return ingest.projects.remember(project.key, news)


def _summary(listed: int, withdrawn: int, taking: _Taking) -> str:
    sentence = f"{counted(listed, 'annotation')} compared, {withdrawn} withdrawn"
    if taking.problems:
        sentence += f", {len(taking.problems)} unusable, such as: {taking.problems[0]}"
    if taking.has_given_up:
        sentence += "; images do not come, so the other unusable ones wait for the next time"
    return sentence
