"""What a predictor is made of, checked before it is asked anything."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from icmformer.errors import ConfigError
from icmformer.model import ICMFormer
from icmformer.segmentation import FeatureTensors
from icmformer.zoom_in import Zoom


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


def check_network(model: ClickNetwork) -> None:
    """Refuse what is no network, such as the path of one.

    Raises:
        ConfigError: if it is none.
    """
    if not _offers(model, ClickNetwork):
        raise ConfigError(
            "a predictor needs a network, such as load_checkpoint(path) returns, this is a "
            f"{type(model).__name__}"
        )
    if not any(True for _ in model.parameters()):
        raise ConfigError(
            f"the network, a {type(model).__name__}, has no parameters: give it one, which says on "
            "which device to compute"
        )


def check_zoom(zoom: Zoom, model: ClickNetwork) -> None:
    """Refuse what is no zoom, such as a size, and a size that the network cannot work with.

    Raises:
        ConfigError: if it is none, or the network refuses its size.
    """
    if not _offers(zoom, Zoom):
        raise ConfigError(
            f"zoom_in needs to be a zoom, such as RepeatedZoomIn((448, 448)), not {zoom!r}"
        )
    if isinstance(model, ICMFormer):
        height, width = map(int, zoom.input_size)
        replace(model.config, input_size=(height, width))  # refuses it


def check_weights(model: ClickNetwork, in_bf16: bool) -> None:
    """Refuse weights of a type that the images, which are float32, cannot be multiplied with.

    Raises:
        ConfigError: if there are such.
    """
    fitting = {torch.float32, torch.bfloat16} if in_bf16 else {torch.float32}
    for kind in {weights.dtype for weights in model.parameters()} - fitting:
        raise ConfigError(
            f"a network with weights of {kind} cannot answer in {'bf16' if in_bf16 else 'fp32'}: "
            "convert it with model.float()"
        )


def _offers(given: object, protocol: type) -> bool:
    return all(hasattr(given, name) for name in vars(protocol) if not name.startswith("_"))
