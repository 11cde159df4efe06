"""The toy network with which the golden evaluation loops were made (see tests/golden/ORIGIN.md)."""

import numpy as np
import torch
from torch import nn


class ToyFeatures:
    def __init__(self, image):
        self.image = image
        self.nbytes = image.nbytes


class ToyNetwork(nn.Module):
    """Reads brightness, the previous mask and a Gaussian around each click.

    Click maps carry the clicks' coordinates themselves instead of disks, because the toy network
    is defined on coordinates: row i of a map holds row and column of its i-th click, NaN ends them.
    """

    def __init__(self, input_size=(224, 224)):
        super().__init__()
        self.input_size = input_size
        self.where = nn.Parameter(torch.zeros(1))
        self.seen_sizes = []
        self.seen_points = []
        self.encoded = 0

    def click_maps(self, rows_columns, positive, size_hw):
        maps = torch.full((2, max(size_hw[0], len(positive) + 1), max(size_hw[1], 2)), torch.nan)
        for plane, chosen in zip(maps, (positive, ~positive), strict=True):
            points = torch.from_numpy(rows_columns[chosen].astype(np.float32))
            plane[: len(points), :2] = points
        return maps

    def encode_image(self, image):
        self.encoded += 1
        return ToyFeatures(image)

    def fuse(self, features, click_maps, previous_mask):
        image = features.image
        self.seen_sizes.append((image.shape[0], 4, *image.shape[2:]))
        self.seen_points.append(click_maps[:, :, :, :2])
        logits = 6 * (image[:, 0] - 0.5) + 2 * (previous_mask[:, 0] - 0.5)
        for index, maps in enumerate(click_maps):
            for plane, sign in zip(maps, (3, -3), strict=True):
                for row, column in plane[~plane[:, 0].isnan(), :2]:
                    logits[index] += sign * _bump(row, column, image.shape[2:])
        return logits[:, None]


def _bump(row, column, size_hw):
    height, width = size_hw
    rows = torch.arange(height, dtype=torch.float32)[:, None]
    columns = torch.arange(width, dtype=torch.float32)[None]
    sigma = 0.1 * max(height, width)
    return torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
