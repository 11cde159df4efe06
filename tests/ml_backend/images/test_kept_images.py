"""What is kept of images goes when its time has passed, also where nobody asks for them again."""

import base64

from ml_backend.images.image_limits import ImageLimits
from ml_backend.images.task_images import TaskImages
from ml_backend.label_studio.labeling_config import ImageTag
from tests.ml_backend.task_pictures import png
from tests.training.disc_project import disc


def load(images, number):
    """Load an image whose file is its address."""
    address = f"data:image/png;base64,{base64.b64encode(png(disc(number)[0])).decode()}"
    task = {"id": number, "data": {"image": address}}
    return images.load(task, ImageTag("image", "$image")).pixels


def test_an_image_whose_time_has_passed_goes_when_another_is_kept():
    images = TaskImages(ImageLimits(), 1 << 20, kept_seconds=0)
    load(images, 1)
    second = load(images, 2)
    assert images.nbytes == second.nbytes


def test_one_whose_time_has_not_passed_stays():
    images = TaskImages(ImageLimits(), 1 << 20)
    both = [load(images, number) for number in (1, 2)]
    assert images.nbytes == sum(image.nbytes for image in both)
