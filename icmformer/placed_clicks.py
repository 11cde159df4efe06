"""Clicks as arrays, checked against the image they were made on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icmformer.clicks import Click, rows_columns
from icmformer.errors import InputError

# A click this many pixels outside is taken for one on the border: percentages and scaled canvases
# round that far. One further out is a mistake that moving it would only hide.
BORDER_TOLERANCE = 1.0


@dataclass(frozen=True, eq=False)
class PlacedClicks:
    """Clicks on one image, in order.

    Attributes:
        rows_columns: (N, 2) float64 pixel indices, between -0.5 and the height or width - 0.5.
        pixels: (N, 2) int, row and column of the pixel under each click.
        positive: (N,) bool.
    """

    rows_columns: np.ndarray
    pixels: np.ndarray
    positive: np.ndarray

    @classmethod
    def on_image(cls, clicks: Sequence[Click], image_hw: tuple[int, int]) -> "PlacedClicks":
        """Place clicks on an image of this height and width.

        Raises:
            InputError: if one is no `Click`, is not a finite number, or lies more than a pixel
                outside.
        """
        for click in clicks:
            if not isinstance(click, Click):
                raise InputError(f"{click!r} is no click: use Click(x, y, positive)")
        places = rows_columns(clicks)
        highest = np.array(image_hw) - 0.5
        slack = BORDER_TOLERANCE
        inside = ((places >= -0.5 - slack) & (places <= highest + slack)).all(axis=1)
        if not inside.all():
            click = clicks[int(np.flatnonzero(~inside)[0])]
            raise InputError(
                f"the click at x={float(click.x):g}, y={float(click.y):g} is not on the image, "
                f"which is {image_hw[1]} pixels wide and {image_hw[0]} high"
            )
        places = np.clip(places, -0.5, highest)
        pixels = np.minimum(np.floor(places + 0.5).astype(np.int64), np.array(image_hw) - 1)
        return cls(places, pixels, np.array([click.positive for click in clicks], dtype=bool))

    def __len__(self) -> int:
        return len(self.positive)

    @property
    def positive_pixels(self) -> np.ndarray:
        """(N⁺, 2) int, row and column of the pixels with a positive click."""
        return self.pixels[self.positive]

    def first(self, count: int) -> "PlacedClicks":
        """Return the first `count` clicks."""
        return PlacedClicks(self.rows_columns[:count], self.pixels[:count], self.positive[:count])
