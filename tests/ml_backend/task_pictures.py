"""A small picture, a task that names one, and what loads it."""

import io

import numpy as np
from PIL import Image

from ml_backend.images.image_limits import ImageLimits
from ml_backend.images.task_images import TaskImages
from ml_backend.label_studio.labeling_config import parse_image
from tests.ml_backend.stand_in import LABEL_CONFIG

TAG = parse_image(LABEL_CONFIG)
PICTURE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
UPLOAD = "/data/upload/1/0123abcd-cells.png"


def png(picture=PICTURE):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def task(address, number=41):
    return {"id": number, "data": {"image": address}}


def images(cache_bytes=1_000_000, **limits):
    return TaskImages(ImageLimits(**limits), cache_bytes)
