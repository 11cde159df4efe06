"""A network that sees exactly, but nothing that is smaller than its pixels."""

import torch
from torch import nn

from icmformer.clicks import click_slots, disk_maps
from tests.toy_network import ToyFeatures


class RednessNetwork(nn.Module):
    """Finds what is red, and cannot see what is thinner than a pixel: a good, blind network."""

    def __init__(self, input_size=(224, 224)):
        nn.Module.__init__(self)
        self.input_size = input_size
        self.weight = nn.Parameter(torch.tensor(20.0))
        self.passes = 0

    def click_maps(self, rows_columns, positive, size_hw):
        return disk_maps(click_slots(rows_columns, positive), size_hw, radius=5)[0]

    def encode_image(self, image):
        return ToyFeatures(image)

    def fuse(self, features, click_maps, previous_mask):
        self.passes += 1
        red, green = features.image[:, :1], features.image[:, 1:2]
        return self.weight * (red - green - 0.5)


class Shown(RednessNetwork):
    """Notes the masks that it is shown."""

    def __init__(self):
        super().__init__()
        self.masks = []

    def fuse(self, features, click_maps, previous_mask):
        self.masks.append(previous_mask)
        return super().fuse(features, click_maps, previous_mask)
