"""Clicks, and the disk maps the network sees of them.

The only file that swaps (x, y) and (row, column). A click lives in the continuous plane of the
image, where the top-left pixel covers [0, 1) × [0, 1); the network lives on pixel indices, where
the centre of that pixel is (row 0, column 0). The two differ by half a pixel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from icmformer.errors import InputError


@dataclass(frozen=True)
class Click:
    """One positive or negative point.

    Attributes:
        x: pixels of the upright original image, to the right, from the left edge of the image.
        y: pixels of the upright original image, downwards, from the top edge of the image.
        positive: True on the object, False on what is not the object.

    Raises:
        InputError: if x or y is no number, or positive neither True nor False.
    """

    x: float
    y: float
    positive: bool

    def __post_init__(self) -> None:
        if not (
            isinstance(self.x, Real)
            and isinstance(self.y, Real)
            and isinstance(self.positive, bool | np.bool_)
        ):
            raise InputError(
                "a click needs two numbers and True or False, this one has"
                f" {self.x!r}, {self.y!r} and {self.positive!r}"
            )


def rows_columns(clicks: Iterable[Click]) -> np.ndarray:
    """Return the clicks as pixel indices, (N, 2) float64 in the order row, column.

    Raises:
        InputError: if a number is larger than a float64 can be.
    """
    try:
        positions = [(click.y - 0.5, click.x - 0.5) for click in clicks]
    except OverflowError as error:
        raise InputError("a click is further away than a number can say") from error
    return np.array(positions, dtype=np.float64).reshape(-1, 2)


def from_row_column(row: float, column: float, positive: bool) -> Click:
    """Return the click at a pixel index: (row 0, column 0) is the centre of the top-left pixel."""
    return Click(x=column + 0.5, y=row + 0.5, positive=positive)


def click_slots(positions: np.ndarray, positive: np.ndarray) -> torch.Tensor:
    """Lay the clicks of one crop out as a batch of one, as `disk_maps` takes them.

    Args:
        positions: (N, 2) row, column; fractions and positions outside the grid are allowed.
        positive: (N,) bool.

    Returns:
        (1, 2, N, 2) float32: of either sign N rows, those of its clicks and else no numbers.

    Raises:
        InputError: if a position is not a finite number.
    """
    if not np.isfinite(positions).all():
        raise InputError("a click has a coordinate that is not a finite number")
    # float32: the precision in which the published disks were drawn
    slots = np.full((1, 2, len(positions), 2), np.nan, np.float32)
    slots[0, np.where(positive, 0, 1), np.arange(len(positions))] = positions
    return torch.from_numpy(slots)


def disk_maps(positions: torch.Tensor, size_hw: tuple[int, int], radius: int) -> torch.Tensor:
    """Draw every click as a filled disk (paper section 3; disks as in RITM).

    Args:
        positions: (B, 2, P, 2) float32 row, column of P positive, then of P negative clicks, in or
            outside the grid; a row that is no number marks one that is not there.
        size_hw: height and width of the maps.
        radius: of the disks, in pixels; the rim is included.

    Returns:
        (B, 2, H, W) float32 in {0, 1}, on the device of the clicks.
    """
    height, width = size_hw
    box = torch.arange(-radius, radius + 2, device=positions.device)  # around any fraction
    rows, columns = (positions.floor()[..., None] + box).unbind(dim=-2)
    from_row, from_column = (each[..., None] for each in positions.unbind(dim=-1))
    down, across = (rows - from_row).square(), (columns - from_column).square()
    # Off the grid it is further than any radius.
    down.masked_fill_((rows < 0) | (rows >= height), torch.inf)
    across.masked_fill_((columns < 0) | (columns >= width), torch.inf)
    inside = down[..., :, None] + across[..., None, :] <= radius * radius
    planes = torch.arange(2 * len(positions), device=positions.device).view(-1, 2, 1, 1)
    starts = (planes * height + rows.clamp(0, height - 1).long()) * width
    flat = starts[..., :, None] + columns.clamp(0, width - 1).long()[..., None, :]
    elements = 2 * len(positions) * height * width + 1
    maps = torch.zeros(elements, dtype=torch.float32, device=positions.device)
    # Whatever is not drawn lands in one spare element behind the maps: no boolean indexing, so a
    # GPU need not wait to learn how many pixels there are.
    maps.index_fill_(0, torch.where(inside, flat, maps.numel() - 1).view(-1), 1.0)
    return maps[:-1].view(-1, 2, height, width)
