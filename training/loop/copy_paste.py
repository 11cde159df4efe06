"""Objects of one image pasted into another: more photos with several objects than were taken.

Simple copy-paste (Ghiasi et al., CVPR 2021). Where most photos show one salient object, a network
may learn to find that instead of what was clicked; with two in sight the click must decide. Copies
from the image itself make crowds of one kind.
"""

from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, Field

from icmformer.region_of_interest import bounding_box
from training.datasets.object_sampling import with_area
from training.datasets.sample import AnnotatedImage
from training.recipe_files import STRICT

_FEATHER = (3, 3)  # pixels over which a pasted border goes over into what is behind it


class CopyPaste(BaseModel):
    """How often, and how large.

    Attributes:
        probability: of pasting one object into an image.
        itself: of these, the share that comes from the image itself.
        side: longer side of what is pasted, over the shorter side of the image; drawn uniformly.
        least: objects of which fewer pixels are left in sight are not asked for any more.
    """

    model_config = STRICT

    probability: float = Field(default=0.0, ge=0, le=1)
    itself: float = Field(default=0.3, ge=0, le=1)
    side: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(le=1)]] = (0.2, 0.7)
    least: int = Field(default=32, ge=1)

    def __call__(
        self, image: AnnotatedImage, donor: AnnotatedImage, rng: np.random.Generator
    ) -> AnnotatedImage:
        """Return the image with one object of the donor in it, in front of what was there.

        Args:
            image: with any number of objects.
            donor: without an object, the image stays as it is.
            rng: source of randomness.
        """
        if not donor.objects:
            return image
        layer, number = donor.objects[rng.integers(len(donor.objects))]
        mask = donor.layers[:, :, layer] == number
        box = bounding_box(mask)
        if box is None:
            return image
        patch, alpha = (plane[box.slices].astype(np.float32) for plane in (donor.image, mask))
        shorter = min(image.image.shape[:2])
        patch, alpha = _scaled(patch, alpha, shorter * rng.uniform(*self.side))
        if rng.random() < 0.5:
            patch, alpha = patch[:, ::-1], alpha[:, ::-1]
        height, width = image.image.shape[:2]
        # Its middle lies anywhere in the image.
        top = int(rng.integers(height)) - alpha.shape[0] // 2
        left = int(rng.integers(width)) - alpha.shape[1] // 2
        return self._pasted(image, patch, alpha, top, left)

    def _pasted(
        self, image: AnnotatedImage, patch: np.ndarray, alpha: np.ndarray, top: int, left: int
    ) -> AnnotatedImage:
        height, width = image.image.shape[:2]
        rows = slice(max(top, 0), min(top + alpha.shape[0], height))
        columns = slice(max(left, 0), min(left + alpha.shape[1], width))
        inside = np.s_[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        patch, alpha = patch[inside], alpha[inside][:, :, None]

        pixels, layers = image.image.copy(), image.layers.copy()
        seen = pixels[rows, columns].astype(np.float32)
        pixels[rows, columns] = np.rint(seen + alpha * (patch - seen)).astype(np.uint8)
        covered = alpha[:, :, 0] > 0.5
        new = int(max(layers.max(), 0)) + 1
        if new > np.iinfo(layers.dtype).max:
            layers = layers.astype(np.int32)
        window = layers[rows, columns]
        window[covered] = 0
        window[:, :, 0][covered] = new
        kept = with_area(layers, (*image.objects, (0, new)), self.least)
        return replace(image, image=pixels, layers=layers, objects=kept)


def _scaled(patch: np.ndarray, alpha: np.ndarray, longer: float) -> tuple[np.ndarray, np.ndarray]:
    """Return both at another size, with a soft border."""
    factor = longer / max(alpha.shape)
    size = tuple(max(round(side * factor), 1) for side in (alpha.shape[1], alpha.shape[0]))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    patch = cv2.resize(patch, size, interpolation=how)
    alpha = cv2.resize(alpha, size, interpolation=how)
    soft = cv2.GaussianBlur(alpha, _FEATHER, 0, borderType=cv2.BORDER_CONSTANT)
    return patch, np.minimum(soft, alpha)
