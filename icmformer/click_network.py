"""What a predictor asks of a network; other networks than iCMFormer can offer it, too."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from icmformer.segmentation import FeatureTensors


class ClickNetwork(Protocol):
    """What the predictor asks of a network; `ICMFormer` is one."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the crop it was made for."""

    def eval(self) -> nn.Module:
        """Switch to inference."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the weights, which say on which device to compute."""

    def click_maps(
        self, rows_columns: np.ndarray, positive: np.ndarray, size_hw: tuple[int, int]
    ) -> torch.Tensor:
        """Draw (N, 2) clicks as (2, H, W) maps."""

    def encode_image(self, image: torch.Tensor) -> FeatureTensors:
        """Encode (B, 3, H, W) RGB in [0, 1]."""

    def fuse(
        self, features: Any, click_maps: torch.Tensor, previous_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return (B, 1, H, W) logits; features are what its own `encode_image` returned."""
