"""Which images a fine-tuned network knows: those that look like the ones it learned."""

import numpy as np
import pytest
import torch

from icmformer import build_model
from training.datasets.sample import AnnotatedImage, EvaluationSample
from training.fine_tuning.familiar_images import known_images, specialised

OBJECT = np.ones((48, 64), np.uint8)


def picture(name):
    """Return a bright one or a dark one, as its name says; others are slightly different."""
    rng = np.random.default_rng(sum(name.encode()))
    low = 150 if name.startswith("bright") else 0
    return rng.integers(low, low + 100, (48, 64, 3), dtype=np.uint8)


def learned(*names):
    return [AnnotatedImage(name, picture(name), OBJECT[..., None], ((0, 1),)) for name in names]


def judged(*names):
    return [
        EvaluationSample(name, picture(name.split("#")[0]), OBJECT.astype(np.int8))
        for name in names
    ]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    specialist, generalist = build_model("tiny").eval(), build_model("tiny").eval()
    bright, dark = learned("bright 1", "bright 2"), learned("dark 1", "dark 2")
    return specialised(specialist, generalist, bright, dark, lambda: None)


def test_images_are_counted_and_not_their_objects(network):
    objects = judged("bright 3#a", "bright 3#b", "dark 3#a", "bright 4#a", "dark 3#b", "dark 4")
    assert known_images(network, objects, lambda: None) == (2, 4)


def test_an_ordinary_network_leaves_no_image_to_another():
    assert known_images(build_model("tiny"), judged("dark 3#a"), lambda: None) is None


def test_counting_can_be_stopped(network):
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        known_images(network, judged("dark 3#a"), stop)
