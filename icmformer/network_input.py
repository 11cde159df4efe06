"""A view of an image, its mask and its clicks as the tensors that the network reads."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from icmformer.placed_clicks import PlacedClicks
from icmformer.zoom_in import View, clicks_in_region, resize

DrawClicks = Callable[[np.ndarray, np.ndarray, tuple[int, int]], torch.Tensor]


def image_planes(
    image: np.ndarray, view: View, device: torch.device, antialias: bool
) -> torch.Tensor:
    """Return an (H, W, 3) uint8 image as (1, 3, h, w) float32 in [0, 1].

    Args:
        image: RGB, in any memory layout.
        view: what of it is seen, and at which size.
        device: on which the network lies.
        antialias: average where the image is shrunk (in uint8, on the CPU, which is also many times
            faster for large images) instead of sampling it, as published.
    """
    planes = torch.from_numpy(np.array(image[view.box.slices], order="C")).permute(2, 0, 1)[None]
    if antialias:
        shrunk = F.interpolate(
            planes, view.size_hw, mode="bilinear", align_corners=True, antialias=True
        )
        return shrunk.to(device).contiguous().float().div(255)
    return resize(planes.to(device).contiguous().float().div(255), view.size_hw)


def mask_plane(probability: np.ndarray, view: View, device: torch.device) -> torch.Tensor:
    """Return an (H, W) float32 probability map as (1, 1, h, w)."""
    cut = torch.from_numpy(np.array(probability[view.box.slices], order="C"))
    return resize(cut[None, None].to(device), view.size_hw)


def click_planes(
    draw: DrawClicks, clicks: PlacedClicks, view: View, mirrored: bool
) -> torch.Tensor:
    """Draw clicks as (1, 2, h, w) maps: positive, then negative.

    Args:
        draw: the network's own way to draw (N, 2) row, column places and (N,) signs at a size.
        clicks: on the image.
        view: what of the image is seen.
        mirrored: whether the network sees it mirrored, left and right exchanged.
    """
    places = clicks_in_region(clicks.rows_columns, view.box, view.size_hw)
    if mirrored:
        places = np.stack([places[:, 0], view.size_hw[1] - places[:, 1] - 1], axis=1)
    # Above and left of the view at once means "no click" in the reference's lists of points, so
    # there not even the rim of a disk is drawn.
    drawn = places.max(axis=1, initial=-np.inf) >= 0
    return draw(places[drawn], clicks.positive[drawn], view.size_hw)[None]
