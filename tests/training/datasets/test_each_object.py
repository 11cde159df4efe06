"""One evaluation sample for every object of an annotated image."""

import numpy as np

from training.datasets.each_object import EachObject
from training.datasets.sample import AnnotatedImage


def test_every_object_becomes_a_sample_with_the_ignored_pixels_of_its_layer():
    layers = np.array([[[1, 0], [2, 0]], [[-1, 7], [0, 7]]], dtype=np.int32)
    image = AnnotatedImage("cells", np.zeros((2, 2, 3), np.uint8), layers, ((0, 1), (0, 2), (1, 7)))

    samples = list(EachObject([image]))

    assert [sample.name for sample in samples] == ["cells#0.1", "cells#0.2", "cells#1.7"]
    assert samples[0].target.tolist() == [[1, 0], [-1, 0]]
    assert samples[1].target.tolist() == [[0, 1], [-1, 0]]
    assert samples[2].target.tolist() == [[0, 0], [1, 1]]
