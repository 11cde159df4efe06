"""The images of a made-up Label Studio, each with an object to click on."""

import http.server
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ml_backend.errors import LocalServerError
from training.datasets.each_object import some_objects
from training.datasets.image_folder import ImageFolder
from training.datasets.sample import EvaluationSample

_MOST_OBJECTS = 10
_JPEG_QUALITY = 92
# An image is shown as it is and flipped, or all of them might be on one side of the split.
_FLIPS: tuple[tuple[int, ...], ...] = ((), (1,), (0,))  # axes


@dataclass(frozen=True)
class ShownImage:
    """The image of a task, and the object that annotators outline there.

    Attributes:
        address: its path in Label Studio.
        sample: image and true mask.
    """

    address: str
    sample: EvaluationSample


def shown_images(folder: Path) -> list[ShownImage]:
    """Return three images for each of ten objects, or fewer, spread over a folder's images.

    Args:
        folder: with `images/` and `masks/`, as `ImageFolder` reads it.

    Raises:
        DatasetError: the folder is not one, or a file of it is damaged.
        LocalServerError: its masks have no object.
    """
    objects = some_objects(ImageFolder(folder), _MOST_OBJECTS)
    if objects is None:
        raise LocalServerError(f"{folder}: the masks have no object to click on: give others")
    return [
        ShownImage(f"/data/upload/1/{number}-{turn}.jpg", _flipped(objects[number], axes))
        for number in range(len(objects))
        for turn, axes in enumerate(_FLIPS)
    ]


@contextmanager
def image_server(images: Sequence[ShownImage]) -> Iterator[str]:
    """Serve the images for the duration of the block; yield the server's address."""
    files = {shown.address: _jpeg(shown.sample.image) for shown in images}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A worker that knows projects of an earlier measurement asks about those, too.
            content = files.get(self.path, b"")
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _flipped(sample: EvaluationSample, axes: tuple[int, ...]) -> EvaluationSample:
    image, target = (np.ascontiguousarray(np.flip(a, axes)) for a in (sample.image, sample.target))
    return EvaluationSample(sample.name, image, target)


def _jpeg(image: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return content.tobytes()
