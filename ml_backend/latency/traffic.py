"""What a Label Studio with busy annotators sends: clicks on objects, and accepted masks."""

import itertools
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from typing import Any, Literal

import numpy as np
import requests

from icmformer import Click, Segmentation
from ml_backend.demo.project import LABELING_CONFIG
from ml_backend.errors import LocalServerError
from ml_backend.label_studio.labeling_config import parse
from ml_backend.label_studio.project_keys import project_key
from ml_backend.label_studio.regions import decode_region
from ml_backend.latency.image_server import ShownImage
from ml_backend.learning.fine_tune_jobs import UNFINISHED
from ml_backend.local_servers.child_process import direct_session
from training.clicks.annotator import JitteredAnnotator
from training.evaluation.click_by_click import Step, click_through
from training.moments import now
from training.progress import Stage

PROJECT = {"id": 1, "created_at": "2026-01-01T00:00:00Z", "label_config": LABELING_CONFIG}
MOST_CLICKS = 5  # on an object
GOOD_ENOUGH = 0.9  # the IoU at which a mask is accepted
CROWD = 8  # annotators who click at once
WEBHOOKS_A_SECOND = 5.0
PAUSE_SECONDS = 0.15  # between an answer and the next click of a quick annotator
_CROWD_GATHERS_SECONDS = 3.0
_TIMEOUT = 100.0


@dataclass
class Traffic:
    """How long the answers took, and how many were none."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def note(self, began: float, answer: requests.Response) -> None:
        """Note an answer that has just arrived."""
        self.seconds.append(time.perf_counter() - began)
        self.failed += bool(_problem(answer))


def _problem(answer: requests.Response) -> str:
    """Return why a request was refused, or its task got no mask; nothing if all is well."""
    if not answer.ok:
        return answer.text
    predictions = answer.json().get("results", [])
    return next((prediction["error"] for prediction in predictions if "error" in prediction), "")


class MagicTool:
    """Label Studio's tool on one task: all clicks out, a mask back; a `ClickSegmenter`.

    Attributes:
        regions: what the last click was answered with.
        problem: why that has no mask.
    """

    def __init__(
        self, backend: str, session: requests.Session, task: int, address: str, traffic: Traffic
    ) -> None:
        """Choose the tool.

        Args:
            backend: its address.
            session: to ask in.
            task: its number.
            address: of its image in Label Studio.
            traffic: takes note of the answers.
        """
        self.regions: list[dict[str, Any]] = []
        self.problem = ""
        self._backend = backend
        self._session = session
        self._task = {"id": task, "data": {"image": address}}
        self._traffic = traffic
        (self._tag,) = parse(LABELING_CONFIG).keypoints

    def segment(
        self, image: np.ndarray, clicks: Sequence[Click], previous: Segmentation | None = None
    ) -> Segmentation:
        """Ask for the mask; without one the mask before stays."""
        height, width, _ = image.shape
        drawn = [
            {
                "id": f"{self._task['id']}-{index}", "type": "keypointlabels",
                "to_name": "image", "from_name": self._tag.name, "is_positive": click.positive,
                "value": {
                    "x": 100 * click.x / width, "y": 100 * click.y / height, "width": 0.3,
                    "keypointlabels": ["Object"],
                },
            }
            for index, click in enumerate(clicks)
        ]  # fmt: skip
        body = {
            "tasks": [self._task],
            "project": project_key(PROJECT),
            "label_config": LABELING_CONFIG,
            "params": {"context": {"result": drawn}},
        }
        began = time.perf_counter()
        answer = self._session.post(f"{self._backend}/predict", json=body, timeout=_TIMEOUT)
        self._traffic.note(began, answer)
        self.problem = _problem(answer)
        if self.problem:
            return previous or Segmentation.empty((height, width))
        (prediction,) = answer.json()["results"]
        self.regions = prediction["result"]
        (region,) = self.regions
        return Segmentation.from_mask(decode_region(region, region["id"]))


class Annotators:
    """They click on objects, one after the other, and submit masks."""

    def __init__(self, backend: str, images: Sequence[ShownImage], first: int = 1) -> None:
        """Begin to annotate.

        Args:
            backend: its address.
            images: of the tasks, in turn.
            first: number of the first task.
        """
        self._backend = backend
        self._images = images
        self._numbers = itertools.count(first)
        self._accepted: list[tuple[ShownImage, list[dict[str, Any]]]] = []

    def warm_up(self) -> None:
        """Click once on every image, so that all are decoded; the masks are submitted later."""
        for shown in self._images:
            traffic = Traffic()
            with direct_session() as session:
                tool = MagicTool(
                    self._backend, session, next(self._numbers), shown.address, traffic
                )
                next(click_through(tool, shown.sample))
            if traffic.failed:
                raise LocalServerError(
                    f"the first click on {shown.sample.name} fails: {tool.problem}"
                )
            self._accepted.append((shown, tool.regions))

    def click_calmly(self, seconds: float) -> Traffic:
        """One annotator, with short pauses."""
        traffic, end = Traffic(), time.monotonic() + seconds
        with direct_session() as session:
            while time.monotonic() < end or not traffic.seconds:
                for _ in self._outline(session, traffic):
                    time.sleep(PAUSE_SECONDS)
        return traffic

    @contextmanager
    def crowd(self) -> Iterator[None]:
        """Let many click without a pause, for the duration of the block."""
        # In a process of their own: what is measured in this one must not wait for them.
        context = multiprocessing.get_context("spawn")
        came = context.Event()
        arguments = (self._backend, self._images, came)
        process = context.Process(target=_crowd, args=arguments)
        process.start()
        try:
            # It imports torch first, which takes seconds.
            if not came.wait(_TIMEOUT):
                raise LocalServerError(f"the annotators did not begin within {_TIMEOUT:.0f} s")
            time.sleep(_CROWD_GATHERS_SECONDS)
            yield
        finally:
            process.kill()
            process.join()

    def send_webhooks(self, seconds: float) -> Traffic:
        """Submit annotations, at least one, at random moments, as independent people do."""
        traffic, end = Traffic(), time.monotonic() + seconds
        waits = np.random.default_rng(0)
        with direct_session() as session:
            while not traffic.seconds or time.monotonic() < end:
                time.sleep(waits.exponential(1 / WEBHOOKS_A_SECOND))
                body = self._webhook(next(self._numbers))
                began = time.perf_counter()
                answer = session.post(f"{self._backend}/webhook", json=body, timeout=_TIMEOUT)
                traffic.note(began, answer)
        return traffic

    def all_stored(self) -> bool:
        """Return whether the worker has dealt with everything that was submitted."""
        address = f"{self._backend}/api/projects/{PROJECT['id']}"
        with direct_session() as session:
            answer = session.get(address, timeout=_TIMEOUT)
        # Before its first message the project is unknown.
        return answer.ok and answer.json()["messages"]["waiting"] == 0

    def start_job(self) -> int:
        """Ask for a fine-tuning job; return its number."""
        job: int = self._post(f"/api/projects/{PROJECT['id']}/jobs")["job"]
        return job

    def progress(self, job: int) -> tuple[Stage | Literal["ended"], int, int]:
        """Return the stage of a job, "ended" if it runs no more, and how far it is in it."""
        with direct_session() as session:
            facts = session.get(f"{self._backend}/api/jobs/{job}", timeout=_TIMEOUT).json()
        goes_on = facts["state"] in UNFINISHED
        stage: Stage | Literal["ended"] = facts["stage"] if goes_on else "ended"
        return stage, facts["done"], facts["total"]

    def cancel(self, job: int) -> None:
        """Cancel a job."""
        self._post(f"/api/jobs/{job}/cancel")

    def _post(self, path: str) -> dict[str, Any]:
        with direct_session() as session:
            answer = session.post(f"{self._backend}{path}", json={}, timeout=_TIMEOUT)
        answer.raise_for_status()
        facts: dict[str, Any] = answer.json()
        return facts

    def click_on(self) -> None:
        """Click without a pause, for as long as the process lives."""
        with direct_session() as session:
            while True:
                list(self._outline(session, Traffic()))

    def _outline(self, session: requests.Session, traffic: Traffic) -> Iterator[Step]:
        """Click on the next object as somebody who does not find the middle of what is wrong."""
        number = next(self._numbers)
        shown = self._images[number % len(self._images)]
        yield from click_through(
            MagicTool(self._backend, session, number, shown.address, traffic),
            shown.sample,
            max_clicks=MOST_CLICKS,
            target_iou=GOOD_ENOUGH,
            annotator=JitteredAnnotator(number),
        )

    def _webhook(self, number: int) -> dict[str, Any]:
        shown, regions = self._accepted[number % len(self._accepted)]
        annotation = {
            "id": number, "task": number, "was_cancelled": False, "result": regions,
            "updated_at": now().isoformat(),
        }  # fmt: skip
        return {
            "action": "ANNOTATION_CREATED",
            "annotation": annotation,
            "task": {"id": number, "data": {"image": shown.address}},
            "project": PROJECT,
        }


def _crowd(backend: str, images: Sequence[ShownImage], came: Event) -> None:
    for number in range(CROWD):
        annotators = Annotators(backend, images, first=1_000_000 * (number + 1))
        threading.Thread(target=annotators.click_on).start()
    came.set()
