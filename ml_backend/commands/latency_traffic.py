"""What a Label Studio with busy annotators sends, made up: clicks, accepted masks, images."""

import http.server
import io
import itertools
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import requests
from PIL import Image

from ml_backend.demo.project import LABELING_CONFIG
from ml_backend.errors import LocalServerError
from ml_backend.label_studio.labeling_config import parse
from training.moments import now
from training.progress import Stage

PROJECT = {"id": 1, "created_at": "2026-01-01T00:00:00Z", "label_config": LABELING_CONFIG}
PROJECT_KEY = "1.1767225600"
CLICKS_AN_OBJECT = 5
PAUSE_SECONDS = 0.15  # between an answer and the next click of a quick annotator
_CROWD_GATHERS_SECONDS = 3.0
_TIMEOUT = 100.0
_SUFFIXES = (".jpg", ".jpeg", ".png")
# One photo becomes several images, or all of them might be on one side of the split.
_TURNS = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)


@dataclass
class Traffic:
    """How long the answers took, and how many were none."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def note(self, began: float, answer: requests.Response) -> None:
        """Note an answer that has just arrived."""
        self.seconds.append(time.perf_counter() - began)
        self.failed += not answer.ok or bool(_problems(answer))


def _problems(answer: requests.Response) -> list[str]:
    """Return why tasks got no mask, which is no failure of the whole answer."""
    predictions = answer.json().get("results", [])
    return [prediction["error"] for prediction in predictions if "error" in prediction]


class Annotators:
    """They click on objects, one after the other, and submit masks."""

    def __init__(self, backend: str, images: Sequence[str], first: int = 1) -> None:
        """Begin to annotate.

        Args:
            backend: its address.
            images: paths in Label Studio.
            first: number of the first task.
        """
        self._backend = backend
        self._images = images
        (self._tag,) = parse(LABELING_CONFIG).keypoints
        self._numbers = itertools.count(first)
        self._masks: list[dict[str, Any]] = []

    def warm_up(self) -> None:
        """Click once on every image, so that all are decoded; the masks are submitted later."""
        with _session() as session:
            for number in range(len(self._images)):
                address, body = self._click(number, 1)
                answer = session.post(address, json=body, timeout=_TIMEOUT)
                answer.raise_for_status()
                if problems := _problems(answer):
                    raise LocalServerError(
                        f"the first click on image {number} fails: {problems[0]}"
                    )
                (prediction,) = answer.json()["results"]
                self._masks.append({"image": number, "result": prediction["result"]})

    def click_calmly(self, seconds: float) -> Traffic:
        """One annotator: five clicks an object, with short pauses."""
        traffic, end = Traffic(), time.monotonic() + seconds
        with _session() as session:
            for number in self._numbers:
                for clicks in range(1, CLICKS_AN_OBJECT + 1):
                    address, body = self._click(number, clicks)
                    began = time.perf_counter()
                    traffic.note(began, session.post(address, json=body, timeout=_TIMEOUT))
                    time.sleep(PAUSE_SECONDS)
                if time.monotonic() > end:
                    break
        return traffic

    @contextmanager
    def crowd(self, size: int) -> Iterator[None]:
        """Let many click without a pause, for the duration of the block."""
        # In a process of their own: what is measured in this one must not wait for them.
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_crowd, args=(self._backend, self._images, size))
        process.start()
        try:
            time.sleep(_CROWD_GATHERS_SECONDS)
            yield
        finally:
            process.kill()
            process.join()

    def send_webhooks(self, a_second: float, seconds: float) -> Traffic:
        """Submit annotations, at least one, at random moments, as independent people do."""
        traffic, end = Traffic(), time.monotonic() + seconds
        waits = np.random.default_rng(0)
        with _session() as session:
            while not traffic.seconds or time.monotonic() < end:
                time.sleep(waits.exponential(1 / a_second))
                body = self._webhook(next(self._numbers))
                began = time.perf_counter()
                answer = session.post(f"{self._backend}/webhook", json=body, timeout=_TIMEOUT)
                traffic.note(began, answer)
        return traffic

    def all_stored(self) -> bool:
        """Return whether the worker has dealt with everything that was submitted."""
        address = f"{self._backend}/api/projects/{PROJECT['id']}"
        with _session() as session:
            answer = session.get(address, timeout=_TIMEOUT)
        # Before its first message the project is unknown.
        return answer.ok and answer.json()["messages"]["waiting"] == 0

    def start_job(self) -> int:
        """Ask for a fine-tuning job; return its number."""
        job: int = self._post(f"/api/projects/{PROJECT['id']}/jobs")["job"]
        return job

    def progress(self, job: int) -> tuple[Stage | Literal["ended"], int, int]:
        """Return the stage of a job, "ended" if it runs no more, and how far it is in it."""
        with _session() as session:
            facts = session.get(f"{self._backend}/api/jobs/{job}", timeout=_TIMEOUT).json()
        goes_on = facts["state"] in ("waiting", "running")
        stage: Stage | Literal["ended"] = facts["stage"] if goes_on else "ended"
        return stage, facts["done"], facts["total"]

    def cancel(self, job: int) -> None:
        """Cancel a job."""
        self._post(f"/api/jobs/{job}/cancel")

    def _post(self, path: str) -> dict[str, Any]:
        with _session() as session:
            answer = session.post(f"{self._backend}{path}", json={}, timeout=_TIMEOUT)
        answer.raise_for_status()
        facts: dict[str, Any] = answer.json()
        return facts

    def click_on(self) -> None:
        """Click without a pause, for as long as the process lives."""
        with _session() as session:
            for number in self._numbers:
                for clicks in range(1, CLICKS_AN_OBJECT + 1):
                    address, body = self._click(number, clicks)
                    session.post(address, json=body, timeout=_TIMEOUT)

    def _click(self, number: int, clicks: int) -> tuple[str, dict[str, Any]]:
        """Return where to ask, and what, for the first clicks on an object of some image."""
        places = np.random.default_rng(number).uniform(15, 85, (CLICKS_AN_OBJECT, 2))
        drawn = [
            {
                "id": f"{number}-{index}", "type": "keypointlabels", "to_name": "image",
                "from_name": self._tag.name, "is_positive": index % 2 == 0,
                "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["Object"]},
            }
            for index, (x, y) in enumerate(places[:clicks].tolist())
        ]  # fmt: skip
        return f"{self._backend}/predict", {
            "tasks": [self._task(number)],
            "project": PROJECT_KEY,
            "label_config": LABELING_CONFIG,
            "params": {"context": {"result": drawn}},
        }

    def _webhook(self, number: int) -> dict[str, Any]:
        mask = self._masks[number % len(self._masks)]
        annotation = {
            "id": number, "task": number, "was_cancelled": False, "result": mask["result"],
            "updated_at": now().isoformat(),
        }  # fmt: skip
        task = {**self._task(mask["image"]), "id": number}
        return {
            "action": "ANNOTATION_CREATED",
            "annotation": annotation,
            "task": task,
            "project": PROJECT,
        }

    def _task(self, number: int) -> dict[str, Any]:
        return {"id": number, "data": {"image": self._images[number % len(self._images)]}}


def _session() -> requests.Session:
    session = requests.Session()
    # A proxy of the environment must not stand before the loopback address.
    session.trust_env = False
    return session


def _crowd(backend: str, images: Sequence[str], size: int) -> None:
    for number in range(size):
        annotators = Annotators(backend, images, first=1_000_000 * (number + 1))
        threading.Thread(target=annotators.click_on).start()


@contextmanager
def image_server(folder: Path) -> Iterator[tuple[list[str], str]]:
    """Serve the photos of a folder, each as several images; yield their paths and the address.

    Raises:
        LocalServerError: the folder has no photos, or one that cannot be read.
    """
    files = {
        f"/data/upload/1/{number}-{turn}.jpg": _turned(path, transpose)
        for number, path in enumerate(_photos(folder))
        for turn, transpose in enumerate(_TURNS)
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(files[self.path])

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield list(files), f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _photos(folder: Path) -> list[Path]:
    inside = folder.iterdir() if folder.is_dir() else ()
    photos = sorted(path for path in inside if path.suffix.lower() in _SUFFIXES)
    if not photos:
        # The container image leaves the demo's photos out.
        raise LocalServerError(
            f"{folder} has no photos ({', '.join(_SUFFIXES)}): give --images, a folder of some"
        )
    return photos


def _turned(path: Path, transpose: Image.Transpose | None) -> bytes:
    try:
        with Image.open(path) as photo:
            image = photo.convert("RGB")
    except OSError as error:
        raise LocalServerError(
            f"{path} cannot be read: take it out of the folder, or give another one as --images"
        ) from error
    if transpose is not None:
        image = image.transpose(transpose)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    return file.getvalue()
