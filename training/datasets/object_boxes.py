"""Where on an image its objects are."""

import numpy as np
from scipy import ndimage

from training.datasets.sample import AnnotatedImage


def object_boxes(annotated: AnnotatedImage) -> list[tuple[slice, slice]]:
    """Return rows and columns of each object's box, in the order of `objects`."""
    boxes = [ndimage.find_objects(layer) for layer in np.moveaxis(annotated.layers, 2, 0)]
    return [boxes[layer][instance - 1] for layer, instance in annotated.objects]
