"""Objects as the report of a version shows them: cut out, so that small ones can be seen."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from icmformer.segmentation import Segmentation
from training.datasets.sample import EvaluationSample
from training.fine_tuning.side_by_side import draw_pair


class DownToRow:
    """Takes all that lies above a row for the object."""

    def __init__(self, row):
        self.row = row

    def segment(self, image, clicks, previous=None):
        probability = np.zeros(image.shape[:2], np.float32)
        probability[: self.row] = 1
        return Segmentation(probability, tuple(clicks))


@pytest.mark.parametrize(
    ("top", "left", "window"),
    [
        # 110 pixels around objects of 50 x 50, as far as the image reaches
        (200, 300, ((170, 270), (279, 379))),
        (10, 10, ((0, 0), (109, 109))),
        (420, 580, ((390, 550), (479, 639))),
    ],
    ids=["in the middle", "near the first corner", "near the last corner"],
)
def test_an_object_stands_in_the_middle_of_its_picture(top, left, window):
    target = np.zeros((480, 640), np.int8)
    target[top : top + 50, left : left + 50] = 1
    # pixels tell where they are
    rows, columns = np.mgrid[:480, :640]
    image = np.stack([rows // 2, columns // 3, np.zeros_like(rows)], axis=2).astype(np.uint8)

    sample = EvaluationSample("a", image, target)
    pair = draw_pair(sample, DownToRow(top + 25), DownToRow(top + 50), clicks=1)

    picture = Image.open(io.BytesIO(base64.b64decode(pair.truth.partition("base64,")[2])))
    shown = np.asarray(picture.convert("RGB"), dtype=int)
    for corner, (row, column) in zip((shown[0, 0], shown[-1, -1]), window, strict=True):
        np.testing.assert_allclose(corner, (row // 2, column // 3, 0), atol=8)
    assert pair.live_iou < pair.candidate_iou
