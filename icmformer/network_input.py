"""A view of an image, its mask and its clicks as the tensors that the network reads, and back."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from icmformer.placed_clicks import PlacedClicks
from icmformer.region_of_interest import View, clicks_in_view, resize

DrawClicks = Callable[[np.ndarray, np.ndarray, tuple[int, int]], torch.Tensor]


def image_planes(image: np.ndarray, view: View, device: torch.device) -> torch.Tensor:
    """Return an (H, W, 3) uint8 RGB image, in any memory layout, as (1, 3, h, w) float32 in [0, 1].

    Where it need not be as published, it is averaged in uint8 on the CPU, which is also many times
    faster for large images.
    """
    planes = torch.from_numpy(np.array(image[view.box.slices], order="C")).permute(2, 0, 1)[None]
    if view.as_published:
        return resize(planes.to(device).contiguous().float().div(255), view.size_hw, True)
    averaged = F.interpolate(planes, view.size_hw, mode="bilinear", antialias=True)
    return averaged.to(device).contiguous().float().div(255)


def pixels_of(planes: torch.Tensor) -> np.ndarray:
    """Return (1, 3, h, w) planes in [0, 1] as the (h, w, 3) uint8 RGB that they were made of."""
    pixels: np.ndarray = (
        planes[0].mul(255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    )
    return pixels


def mask_plane(probability: np.ndarray, view: View, device: torch.device) -> torch.Tensor:
    """Return an (H, W) float32 probability map as (1, 1, h, w).

    Where it need not be as published, it is resized on the CPU, where it is, and only then moved.
    """
    cut = torch.from_numpy(np.array(probability[view.box.slices], order="C"))[None, None]
    if view.as_published:
        return resize(cut.to(device), view.size_hw, True)
    return resize(cut, view.size_hw, False).to(device)


def on_image(probability: torch.Tensor, view: View) -> np.ndarray:
    """Return (1, 1, h, w) probabilities of a view as (H, W) float32 of the image; 0 elsewhere."""
    planes = resize(probability, view.box.size_hw, view.as_published)
    crop: np.ndarray = planes[0, 0].cpu().numpy()
    if crop.shape == view.image_hw:
        return crop
    result = np.zeros(view.image_hw, dtype=np.float32)
    result[view.box.slices] = crop
    return result


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
    places = clicks_in_view(clicks.rows_columns, view)
    if mirrored:
        places = np.stack([places[:, 0], view.size_hw[1] - places[:, 1] - 1], axis=1)
    # Above and left of the view at once means "no click" in the reference's lists of points, so
    # there not even the rim of a disk is drawn. Placed by length, the first pixel begins at -0.5.
    drawn = places.max(axis=1, initial=-np.inf) >= (0 if view.as_published else -0.5)
    return draw(places[drawn], clicks.positive[drawn], view.size_hw)[None]
