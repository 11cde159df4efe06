"""The worker's first duty: take messages from the inbox and bring the sample store up to date.

Every step may be repeated: a worker killed between two of them leaves the message in the inbox and
the next one starts over, with the same result. Nothing is fetched for a message that is no news.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_backend.errors import (
    BackendError,
    BrushRLEError,
    ImageHostError,
    LabelStudioError,
    RequestError,
    TaskImageError,
    unforeseen,
)
from ml_backend.label_studio.accepted_objects import (
    AcceptedRegions,
    PaintedRegions,
    accepted_regions,
    painted_regions,
    region_labels,
)
from ml_backend.label_studio.labeling_config import ImageTag, magic_controls, parse_image
from ml_backend.label_studio.protocol import Json, number_of, objects, time_of
from ml_backend.learning.inbox import Inbox, Message
from ml_backend.learning.newer_states import NewerStates
from ml_backend.learning.projects import ProjectNews, ProjectRow, Projects
from training.errors import DatabaseError, FileStoreError
from training.moments import now
from training.store.samples import Annotation, SampleStore

logger = logging.getLogger(__name__)

ATTEMPTS = 6  # in five minutes or more; after that a reconcile tries again
START_TRAINING = "START_TRAINING"
SILENT_IMAGES = 3  # that did not come and may each have taken a minute; then others have a turn
Image = NDArray[np.uint8]
# (project, task as Label Studio serialises it, its image, height and width that its masks say it
# has) -> (H, W, 3) upright RGB, perhaps of another size.
FetchImage = Callable[[ProjectRow, Json, ImageTag, tuple[int, int]], Image]


class NotAskedForError(Exception):
    """An image is left to the next comparison."""


# After these nothing is known of an annotation yet.
WAITING = (LabelStudioError, FileStoreError, DatabaseError, NotAskedForError)


@dataclass(frozen=True)
class Ingest:
    """Turns messages into samples.

    Attributes:
        inbox: where messages wait.
        newer: what those that wait say about annotations.
        projects: what is known of their projects.
        samples: the store that is brought up to date.
        fetch_image: raises TaskImageError for an image that cannot be used, LabelStudioError
            where Label Studio cannot be reached.
        request_training: asks for a fine-tuning job, with a reason.
    """

    inbox: Inbox
    newer: NewerStates
    projects: Projects
    samples: SampleStore
    fetch_image: FetchImage
    request_training: Callable[[str, str], object]

    def drain(self, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Deal once with every message that is due; return how many there were.

        Where Label Studio, the stored files or the server of an image cannot be reached, or is too
        slow, the project's other messages stay due and wait.
        """
        began, dealt_with, unreachable = now(), 0, set[str]()
        while not should_stop() and (message := self.inbox.next_due(began, unreachable)):
            if self._begin(message) and not self._deal_with(message):
                unreachable.add(message.project)
            dealt_with += 1
        return dealt_with

    def start_training(self, project: str) -> None:
        """Ask for what the button in Label Studio asks for; asking twice is asking once."""
        self.request_training(project, "Start training in Label Studio")

    def settle(self, project: str, before: datetime) -> None:
        """Let go of messages that were given up, once a comparison has found out the rest.

        No comparison finds out that somebody pressed the button.
        """
        if START_TRAINING in self.inbox.given_up(project, before):
            self.start_training(project)
        self.inbox.settle(project, before)

    def take(
        self, project: ProjectRow, annotation: Json, task: Json, listed_at: datetime | None = None
    ) -> None:
        """Bring the store up to date with one annotation.

        Args:
            project: whose it is.
            annotation: as Label Studio serialises it.
            task: the same of its task.
            listed_at: when the listing began that shows the annotation; None if a message does,
                which may be an old one.

        Raises:
            LabelStudioError: if Label Studio cannot be reached. After this and the errors of
                `WAITING` the store does not change.
            Exception: any other, if the annotation cannot be taken: its image, its masks, or the
                project's configuration cannot be used, or nobody foresaw it. The store says so as
                well: it counts as unreadable.
        """
        state = Annotation(
            project=project.key,
            annotation=number_of(annotation),
            task=number_of(task),
            updated_at=time_of(annotation),
            status="skipped",
        )
        if not self.samples.wants(state, listed_at):
            if listed_at is not None:
                self.samples.relabel(state, region_labels(_result(annotation)), listed_at)
            return
        try:
            is_skipped = annotation.get("was_cancelled")
            found = state if is_skipped else self._with_objects(state, project, annotation, task)
            self.samples.replace(found, listed_at)
        except WAITING:
            raise
        except Exception as error:
            problem = problem_of(error, state.annotation)
            unreadable = replace(state, status="unreadable", notes=(problem,))
            self.samples.replace(unreadable, listed_at)
            raise

    def _with_objects(
        self, state: Annotation, project: ProjectRow, annotation: Json, task: Json
    ) -> Annotation:
        tag = parse_image(project.label_config)
        controls = magic_controls(project.label_config)
        painted = painted_regions(_result(annotation), tag.name, controls)
        size_hw = painted.size_hw
        image = self.fetch_image(project, task, tag, size_hw) if size_hw else None
        regions = accepted_regions(painted, None if image is None else image.shape[:2])
        if not regions.objects and regions.unreadable:
            raise _nothing_readable(state.task, painted, image, regions)
        return replace(
            state,
            status="accepted" if regions.objects else "empty",
            image=image,
            objects=regions.objects,
            labels_without_mask=regions.labels_without_mask,
            notes=regions.notes,
        )

    def _begin(self, message: Message) -> bool:
        """Count an attempt; return whether this worker is to make it."""
        if message.attempts >= ATTEMPTS:
            died = f"given up after {ATTEMPTS} attempts, in the last of which the worker died"
            before = f"; in an earlier one: {message.note}" if message.note else ""
            self.inbox.fail(message.id, died + before)
            return False
        return self.inbox.begin(message)

    def _deal_with(self, message: Message) -> bool:
        """Do what one message asks for; return whether all it needs was there, and soon."""
        try:
            note = self._apply(message)
        except (LabelStudioError, FileStoreError) as error:
            # Either comes back sooner or later, and the message waits for it.
            self.inbox.postpone(message.id, str(error))
            return False
        except ImageHostError as error:
            self._give_up_or_retry(message, error)
            return False
        except DatabaseError as error:
            # Where the inbox can be written, it says that this was not the message's fault.
            with contextlib.suppress(DatabaseError):
                self.inbox.postpone(message.id, str(error))
            raise
        except RequestError as error:  # the message will say the same the next time
            self.inbox.fail(message.id, str(error))
        except Exception as error:
            # One message that nobody foresaw must not hold up those behind it.
            self._give_up_or_retry(message, error)
        else:
            self.inbox.done(message.id, note)
        return True

    def _give_up_or_retry(self, message: Message, error: Exception) -> None:
        if not isinstance(error, BackendError):
            logger.exception("message %d (%s) failed", message.id, message.action)
        problem = str(error) if isinstance(error, BackendError) else unforeseen(error)
        if message.attempts + 1 < ATTEMPTS:
            self.inbox.retry(message.id, problem)
        else:
            self.inbox.fail(message.id, problem)

    def _apply(self, message: Message) -> str:
        """Deal with one message; return a note about it."""
        body = json.loads(message.body)
        if not message.project:
            return "ignored: it names no project"
        project = self._remember(message, body.get("project"))
        if message.action == START_TRAINING:
            self.start_training(message.project)
        elif message.action == "TASKS_CREATED":
            self._ask_for_imported(message.project, body.get("tasks") or [])
        elif message.action == "TASKS_DELETED":
            self.samples.withdraw_tasks(message.project, _ids(body.get("tasks")))
        elif message.action in ("ANNOTATIONS_DELETED", "ANNOTATION_DELETED"):
            deleted = body.get("annotations", body.get("annotation"))
            self.samples.withdraw(message.project, _ids(deleted))
        elif message.action.startswith("ANNOTATION"):
            self._take_all(project, body)
        return ""

    def _ask_for_imported(self, project: str, tasks: Any) -> None:
        """Have annotations found that tasks were imported with: no message says what they are.

        However many messages an import takes, the project is compared at most once a minute.
        """
        if any(task.get("total_annotations", 1) for task in objects(tasks)):
            self.projects.ask_to_reconcile(project)

    def _take_all(self, project: ProjectRow, body: Json) -> None:
        """Take each annotation, also after one that cannot be taken; then raise what was wrong.

        One of which a newer state waits is left to that. Where images do not come, the others wait
        for the next attempt or for a reconcile.
        """
        tasks = {number_of(task): task for task in objects(body.get("task"))}
        problem: Exception | None = None
        silent = 0
        for annotation in objects(body.get("annotation")):
            if silent == SILENT_IMAGES:
                break
            try:
                if not self.newer.is_waiting(project.key, annotation):
                    self.take(project, annotation, _task_of(annotation, tasks))
                    self.newer.forget(project.key, annotation)
            except (LabelStudioError, FileStoreError):
                raise
            except ImageHostError as error:
                problem, silent = error, silent + 1
            except Exception as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _remember(self, message: Message, described: Any) -> ProjectRow:
        told = described if isinstance(described, dict) else {}
        news = ProjectNews(
            title=str(told.get("title") or ""), label_config=str(told.get("label_config") or "")
        )
        known = self.projects.find(message.project) if message.was_tried else None
        if known is not None:
            # A message that waited may say what has changed since.
            news = ProjectNews(
                title=known.title or news.title,
                label_config=known.label_config or news.label_config,
            )
        return self.projects.remember(message.project, news)


def _task_of(annotation: Json, tasks: Mapping[int, Json]) -> Json:
    number = number_of(annotation, "task")
    if number not in tasks:
        raise RequestError(f"the message does not describe task {number} of its annotation")
    return tasks[number]


def problem_of(error: Exception, annotation: object) -> str:
    """Say in a sentence why an annotation cannot be taken."""
    if isinstance(error, BackendError):
        return str(error)
    return f"annotation {annotation} cannot be taken: {unforeseen(error)}"


def _nothing_readable(
    task: int, painted: PaintedRegions, image: Image | None, regions: AcceptedRegions
) -> BackendError:
    """Say why no mask of an annotation can be read."""
    if image is not None and all(it.size_hw != image.shape[:2] for it in painted.regions):
        height, width = painted.size_hw or (0, 0)
        return TaskImageError(
            f"task {task}: the masks were drawn on {width}x{height} pixels, but the image has "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    return BrushRLEError(f"task {task}: no mask can be read: {regions.unreadable[0]}")


def _result(annotation: Json) -> list[Json]:
    # Label Studio keeps null of an annotation that was made over its API without a result.
    return annotation.get("result") or []


def _ids(value: Any) -> list[int]:
    return [number_of(item) for item in objects(value)]
