"""Samples that begin late: a mask that is nearly right, and a click on what is still wrong.

Iterative clicks (paper section 3.3) reach such masks only as far as the network does, at a pass a
click. Here the true mask is bent, clicks go where iterative training would place them, and all
but the last one have been obeyed. FocalClick (CVPR 2022) trains with masks that were there before.
Some are seen in a window around the outline, as `icmformer.closer_look` shows corrections; FocusCut
(CVPR 2022) trains such views, too.
"""

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from training.augmentation import Range
from training.iterative_clicks import find_corrections, place_click
from training.training_clicks import EMPTY, NEGATIVE, POSITIVE


class Corrections(BaseModel):
    """How such samples are drawn.

    Attributes:
        share: of the samples that ask for an object.
        close_up: share of these that are seen in a window around a piece of the outline.
        window: side of that window over the longer side of the object's box.
        bend: how far the outline is moved, typically, over the square root of the visible area; its
            logarithm is uniform in this range.
        most_clicks: their number is uniform in 1 to this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(gt=0, le=1)
    close_up: float = Field(default=0.5, ge=0, le=1)
    window: Range = (0.3, 0.9)
    bend: Range = (0.02, 0.2)
    most_clicks: int = Field(default=8, ge=1)

    def begin(
        self, labels: np.ndarray, slots: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a mask to start from, and the clicks that led to it and the one after.

        Args:
            labels: (H, W) int8; 1 is object, 0 is not, -1 is ignored. Some must be 1.
            slots: most clicks of either sign.
            rng: source of randomness.

        Returns:
            (H, W) uint8, the mask's probability times 255, and (2, slots, 2) int16 positive and
            negative clicks as (row, column), unused slots -1.
        """
        mask = self._bent(labels == 1, rng)
        clicks = np.full((2, slots, 2), EMPTY, np.int16)
        used = [0, 0]
        for left in reversed(range(rng.integers(1, min(self.most_clicks, slots) + 1))):
            correction = find_corrections(labels[None], mask[None].astype(np.float32))[0]
            position = place_click(correction, "inner_half", rng)
            if position is None:
                break
            sign = POSITIVE if correction.positive else NEGATIVE
            clicks[sign, used[sign]] = position
            used[sign] += 1
            wrong = (
                (labels == 1) & (mask == 0) if correction.positive else (labels == 0) & (mask == 1)
            )
            # The last click is not answered yet, or by a disk, or as it should be.
            fate = 2 if left else int(rng.integers(3))
            if fate == 1:
                radius = int(rng.integers(3, 20))
                cv2.circle(mask, position[::-1], radius, int(correction.positive), -1)
            elif fate == 2:
                mask[_component(wrong, position)] = correction.positive
        blur = rng.uniform(0.5, max(labels.shape) / 100)
        return cv2.GaussianBlur(mask * np.uint8(255), (0, 0), blur), clicks

    def _bent(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the (H, W) uint8 mask with its outline moved by smooth noise."""
        inside, outside = (
            cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
            for side in (mask, ~mask)
        )
        grid = rng.standard_normal((int(rng.integers(3, 13)),) * 2).astype(np.float32)
        noise = cv2.resize(grid, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
        amount = np.exp(rng.uniform(*np.log(self.bend))) * np.sqrt(mask.sum())
        return (inside - outside + amount * noise > 0).astype(np.uint8)


def _component(region: np.ndarray, position: tuple[int, int]) -> np.ndarray:
    """Return (H, W) bool: the connected part of the region in which the position lies."""
    filled = np.zeros((region.shape[0] + 2, region.shape[1] + 2), np.uint8)
    cv2.floodFill(region.astype(np.uint8), filled, position[::-1], 1)
    return filled[1:-1, 1:-1] > 0
