"""A click becomes a mask: read what was drawn, load the image, ask the predictor, write regions.

The whole of /predict as plain functions over their collaborators. What cannot be answered for one
task is an empty result, with a sentence in the log and on the page: Label Studio shows annotators
nothing of a failure, and one bad task must not spoil the others of a batch.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icmformer import Segmentation
from icmformer.devices import is_out_of_host_memory
from icmformer.errors import ICMFormerError
from ml_backend.backend import Backend
from ml_backend.deadline import Deadline
from ml_backend.errors import (
    NO_MEMORY,
    UNFORESEEN,
    BackendError,
    DeadlineError,
    DeviceError,
    DeviceMemoryError,
    RequestError,
)
from ml_backend.images.task_images import TaskImage
from ml_backend.label_studio.drawn_objects import (
    DrawnObject,
    carries_objects,
    drawn_objects,
    shown_size,
)
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.label_studio.protocol import task_number
from ml_backend.label_studio.regions import brush_region
from ml_backend.serving.click_sessions import ObjectKey
from ml_backend.serving.loaded_model import LoadedModel
from ml_backend.serving.object_passes import ObjectPasses

logger = logging.getLogger(__name__)

Task = dict[str, Any]
Region = dict[str, Any]
Prediction = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What all tasks of one /predict share.

    Attributes:
        project: key of the project.
        config: its labelling configuration.
        context: what was drawn just now; None in a batch.
        deadline: when Label Studio stops waiting.
    """

    project: str
    config: LabelingConfig
    context: dict[str, Any] | None
    deadline: Deadline


def predict_tasks(tasks: Sequence[Task], asked: Asked, backend: Backend) -> list[Prediction]:
    """Return one prediction a task, in order.

    Or, when a batch takes too long or the GPU cannot go on, that of the first task alone: Label
    Studio then asks for the tasks one by one, each with a deadline of its own, and finds the
    finished masks remembered.

    Raises:
        DeviceMemoryError: if the GPU's memory does not suffice for the first task.
        DeviceError: if the GPU fails with the first task.
    """
    backend.click_mark.leave()
    predictions: list[Prediction] = []
    for task in tasks:
        try:
            asked.deadline.check()
            predictions.append(_predict(task, asked, backend))
        except Exception as error:
            is_device = isinstance(error, (DeviceMemoryError, DeviceError))
            # Waiting for an image ends at the deadline, too, with an error of its own.
            is_late = isinstance(error, DeadlineError) or asked.deadline.remaining() == 0
            if predictions and (is_device or is_late):
                logger.warning("batch cut tasks=%d done=%d", len(tasks), len(predictions))
                return predictions[:1]
            if is_device:
                raise  # no task is at fault, and the next one would fare no better
            # Whatever is wrong with this task, the others still get their answer.
            predictions.append(_failed(task, asked, backend, error))
    return predictions


def _predict(task: Task, asked: Asked, backend: Backend) -> Prediction:
    if asked.context is None and not carries_objects(task, asked.config):
        return _prediction([], backend.pointer.live(asked.project).name)
    with backend.metrics.image_seconds.time():
        label_studio = backend.connections.label_studio(asked.project)
        image = backend.images.load(
            task,
            asked.config.image,
            label_studio,
            shown_hw=shown_size(asked.context),
            seconds=asked.deadline.remaining(),
        )
    size_hw = _size_hw(image.pixels)
    drawn = drawn_objects(task, asked.context, asked.config, size_hw)
    most = max((len(one.clicks) for one in drawn), default=0)
    if most > backend.settings.max_clicks:
        limit = backend.settings.max_clicks
        raise RequestError(f"{most} clicks on one object are more than the {limit} served here")
    model = backend.models.serving(asked.project, asked.deadline)
    found = [_region(one, image, task, model, asked, backend) for one in drawn]
    regions = [region for region in found if region]
    if drawn and not regions and asked.context is not None:
        raise RequestError(_why_empty(drawn))
    return _prediction(regions, model.version.name)


def _region(
    drawn: DrawnObject,
    image: TaskImage,
    task: Task,
    model: LoadedModel,
    asked: Asked,
    backend: Backend,
) -> Region | None:
    """Segment one object; None if its mask is empty, which the editor would draw as a ghost."""
    started = time.perf_counter()
    key = ObjectKey(
        asked.project,
        task_number(task),
        image.digest,
        drawn.label,
        model.version.name,
    )
    passes = ObjectPasses(
        drawn,
        image.pixels,
        key,
        model.predictor(asked.project),
        backend.settings.max_clicks,
        asked.deadline,
        backend.sessions,
        backend.metrics,
    )
    segmentation = backend.queue.run(lambda: _segment(passes, asked, backend), asked.deadline)
    mask = segmentation.mask
    network = "first" if segmentation.is_by_generalist else "own"
    logger.info(
        "mask task=%s clicks=%d version=%s network=%s ms=%d",
        key.task,
        len(segmentation.clicks),
        key.version,
        network,
        1000 * (time.perf_counter() - started),
    )
    if not mask.any():
        logger.warning("empty mask task=%s label=%r", key.task, drawn.label)
        return None
    backend.metrics.masks.labels("box" if drawn.box else "clicks", network).inc()
    score = _mean_inside(segmentation.probability, mask)
    return brush_region(mask, drawn.label, asked.config, drawn.region_id, score)


def _why_empty(drawn: Sequence[DrawnObject]) -> str:
    if any(one.box for one in drawn):
        return "nothing was found inside the rectangle: draw it anew, or click on the object"
    if not any(click.positive for one in drawn for click in one.clicks):
        return "there are only Alt+clicks so far: click on the object first"
    return "the mask is empty: click once more, inside the object"


def _segment(passes: ObjectPasses, asked: Asked, backend: Backend) -> Segmentation:
    """Segment one object; runs in the inference thread."""
    if asked.context is not None:
        backend.click_mark.leave()  # the one of its arrival may have expired meanwhile
    return passes.segmentation()


def _mean_inside(probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Return the mean probability inside the mask: how sure the network is, not how often right."""
    # As a dot product: an index of twelve megapixels takes seven times as long.
    total = np.dot(probability.ravel(), mask.ravel().astype(np.float32))
    return round(float(total) / int(np.count_nonzero(mask)), 4)


def _prediction(regions: list[Region], version: str) -> Prediction:
    """Write what Label Studio reads; `score` is the lowest of the regions, 0 without any."""
    scores = [region["score"] for region in regions]
    return {"result": regions, "score": min(scores, default=0.0), "model_version": version}


def _failed(task: Task, asked: Asked, backend: Backend, error: Exception) -> Prediction:
    """Answer nothing; say why in the log and in a key that Label Studio leaves alone."""
    name, sentence = type(error).__name__, str(error)
    if isinstance(error, BackendError | ICMFormerError):
        logger.warning("no mask task=%s: %s", task_number(task), sentence)
    elif is_out_of_host_memory(error):
        logger.warning("no mask task=%s: %s (%s)", task_number(task), NO_MEMORY, sentence or name)
        sentence = NO_MEMORY
    else:
        logger.error("no mask task=%s: unforeseen %s", task_number(task), name, exc_info=error)
        sentence = UNFORESEEN
    backend.metrics.errors.labels(name).inc()
    version = backend.pointer.live(asked.project).name
    return {**_prediction([], version), "error": sentence}


def _size_hw(image: NDArray[np.uint8]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
