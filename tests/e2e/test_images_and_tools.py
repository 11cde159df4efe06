"""Images that are not what they seem, and the other way to draw: a rectangle."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from ml_backend.demo import project as demo
from tests.e2e.conftest import ARTEFACTS, IMAGES
from tests.e2e.expected_masks import clicks_of, mask_of, saved_masks

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LABELS = '<Label value="Object"/><Label value="Other"/>'
RECTANGLES = f"""
<View>
  <KeyPointLabels name="click" toName="image" smart="true" smartOnly="true">
    {LABELS}
  </KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true" smartOnly="true">
    {LABELS}
  </RectangleLabels>
  <Image name="image" value="$image" maxWidth="calc(100% - 50px)"/>
  <BrushLabels name="mask" toName="image" smart="false">{LABELS}</BrushLabels>
</View>
"""


def test_photo_of_a_turned_camera(page, backend, new_project, label_studio, predictor, tmp_path):
    """Orientation 6: the file lies on its side, and the browser shows it upright."""
    photo = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(IMAGES / "cat.jpg").save(photo, exif=exif, quality=95)
    upright = np.array(ImageOps.exif_transpose(Image.open(photo)))
    assert upright.shape == (451, 300, 3)

    project = new_project(backend, photo)
    (task,) = demo.task_ids(label_studio.api, project)
    page.open(project, task)
    page.turn_on_auto_annotation()
    page.choose("Object")
    page.click(0.5, 0.3)
    page.choose("Object")
    answer = page.click(0.2, 0.5, negative=True)
    page.keep_picture(ARTEFACTS / "turned-camera.png")
    page.accept()
    page.submit()
    expected = predictor.segment(upright, clicks_of(answer.asked)).mask
    np.testing.assert_array_equal(saved_masks(label_studio.api, task)["Object"], expected)


def test_rectangle(page, backend, new_project, label_studio):
    """A box gives a mask inside the box."""
    project = new_project(backend, IMAGES / "coffee.jpg", labeling_config=RECTANGLES)
    (task,) = demo.task_ids(label_studio.api, project)
    page.open(project, task)
    page.turn_on_auto_annotation(tool="rectangle-tool")
    page.choose("Object", group=1)
    answer = page.drag_box((0.25, 0.1), (0.75, 0.8))
    page.wait_for_suggestion()
    page.keep_picture(ARTEFACTS / "rectangle.png")
    page.accept()
    page.submit()

    (box,) = answer.asked
    assert box["type"] == "rectanglelabels"
    saved = saved_masks(label_studio.api, task)["Object"]
    np.testing.assert_array_equal(saved, mask_of(answer.regions[0]))
    assert saved.any()
    rows, columns = np.nonzero(saved)
    height, width = saved.shape
    left, top = box["value"]["x"] * width / 100, box["value"]["y"] * height / 100
    assert columns.min() >= left - 1
    assert rows.min() >= top - 1
    assert columns.max() <= left + box["value"]["width"] * width / 100 + 1
    assert rows.max() <= top + box["value"]["height"] * height / 100 + 1
